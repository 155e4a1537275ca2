"""Breadth-first search over every schedule of a small world (docs/exploration.md).

Rule 1: a state is the multiset of the honest validators' keys; what was said is never unsaid, so the network
needs no state of its own.
Rule 2: what one validator does depends on itself and on what the two others said and hold: it is computed once
and remembered.
Rule 3: glued, a move runs on through silent steps until its validator says something new or restarts.
Rule 4: whatever is cut is counted and reported; a search that ran out of time or states says so.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ledger.rules.certificates import NOTARIZE, NULLIFY, Subject
from tests.campaigns.exploration.node import QUORUM, VALIDATORS_COUNT, Node, leader_of, name_of
from tests.campaigns.exploration.process import Action, CoreStopped, Process, run, steps_of
from tests.campaigns.exploration.properties import Public, Violation, check
from tests.campaigns.exploration.scope import Report, Scope

ID_BITS = 20
ID_MASK = (1 << ID_BITS) - 1
HONEST_COUNT = VALIDATORS_COUNT - 1

Step = tuple[int, int | None]
Heard = tuple[tuple[int, int, bool], ...]
Move = tuple[int, tuple[Step, ...], bool]
State = int


class KeyHidesDifference(AssertionError):
    """Two nodes with one key behave differently: the model, not the core, is wrong."""


def pack(ids: Iterable[int]) -> State:
    """Return a state: local ids in order, so that validators with equal parts are interchangeable."""
    first, second, third = sorted(ids)
    return (first << ID_BITS | second) << ID_BITS | third


def unpack(state: State) -> tuple[int, int, int]:
    """Return the local ids of a state."""
    return state >> 2 * ID_BITS, state >> ID_BITS & ID_MASK, state & ID_MASK


class Explorer:
    """Searches one scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.nodes: list[Node] = []
        self.publics: list[int] = []
        self.judged: list[int] = []
        self.public_values: list[Public] = []
        self.report = Report(scope)
        self.said: list[frozenset[int]] = []
        self.certificates: list[frozenset[int]] = []
        self._subjects: list[Subject] = []
        self._subject_numbers: dict[Subject, int] = {}
        self._actions: list[Action] = []
        self._action_numbers: dict[tuple[object, ...], int] = {}
        self._steps: dict[int, tuple[int, ...]] = {}
        self._ids: dict[tuple[object, ...], int] = {}
        self._public_ids: dict[Public, int] = {}
        self._outcomes: dict[int, tuple[int, tuple[tuple[int, int], ...]]] = {}
        self._heard: list[tuple[Heard, tuple[int, int]]] = []
        self._heard_ids: dict[Heard, int] = {}
        self._heard_numbers: dict[tuple[int, int], int] = {}
        self._moves: dict[int, tuple[Move, ...]] = {}
        self._alone: dict[int, tuple[Move, ...]] = {}
        self._claims: dict[tuple[int, ...], str | None] = {}
        self._merged = 0
        self.reached: dict[State, State] = {}
        self._honest = [index for index in range(VALIDATORS_COUNT) if index != scope.byzantine]
        self._starts = [self._intern(Process.boot(index, scope.byzantine)) for index in self._honest]
        self._proposals = [self._number(proposal) for proposal in scope.proposals()]

    # Local states.

    def _intern(self, node: Node) -> int:
        if node.wrong_view is not None and not self.scope.judges_views:
            node = replace(node, wrong_view=None)
        key = self._key(node)
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = len(self.nodes)
            assert found <= ID_MASK, "more local states than a state has room for"
            self.nodes.append(node)
            judged = self._intern_public(Public(node.said, node.certificates, node.accuses_honest))
            spoken = self._intern_public(Public(node.said, frozenset(), node.accuses_honest))
            self.said.append(frozenset(self._number(subject) for subject in node.said))
            self.certificates.append(frozenset(self._number(subject) for subject in node.certificates))
            self.judged.append(judged)
            self.publics.append(spoken if self.scope.glued else judged)
        else:
            self._merged += 1
            if self._merged % self.scope.congruence_every == 0:
                self._check_congruence(node, found)
        return found

    def _intern_public(self, public: Public) -> int:
        number = self._public_ids.setdefault(public, len(self.public_values))
        if number == len(self.public_values):
            self.public_values.append(public)
        return number

    def _check_congruence(self, node: Node, twin: int) -> None:
        """Another way to the same key: all that the twin was put through must lead to the same keys."""
        self.report.congruence_checks += 1
        for number in self._own_steps(twin):
            self._outcome(twin, number)
        for number, action in enumerate(self._actions[:]):
            known = self._outcomes.get(twin << ID_BITS | number)
            if known is None:
                continue
            self.report.outcomes_compared += 1
            process = run(node, action, self.scope.byzantine, answers_at_once=self.scope.answers_at_once)
            found = {self._key(process.freeze())}
            if known[1]:
                found |= {self._key(process.restart(point)) for point in process.distinct_crash_points()}
            if found != {self._key(self.nodes[local]) for local in (known[0], *dict(known[1]))}:
                raise KeyHidesDifference(f"{action} of validator {node.index}: {self._key(node)}")

    def _key(self, node: Node) -> tuple[object, ...]:
        return node.key(may_crash=self.scope.crashes > 0, views=self.scope.views)

    def _outcome(self, local: int, number: int) -> tuple[int, tuple[tuple[int, int], ...]]:
        """Return where an action leads, and where a crash during it leads."""
        place = local << ID_BITS | number
        found = self._outcomes.get(place)
        if found is not None:
            return found
        node, action = self.nodes[local], self._actions[number]
        self.report.core_calls += 1
        process = run(node, action, self.scope.byzantine, answers_at_once=self.scope.answers_at_once)
        after = self._intern(process.freeze())
        crashed: dict[int, int] = {}
        if self.scope.crashes and not node.has_crashed:
            for point in process.distinct_crash_points():
                crashed.setdefault(self._intern(process.restart(point)), point)
        result = (after, tuple(crashed.items()))
        self._outcomes[place] = result
        return result

    # Moves.

    def _number(self, subject: Subject) -> int:
        """Return a subject's number: hashing numbers is what makes the search fast."""
        found = self._subject_numbers.get(subject)
        if found is None:
            found = self._subject_numbers[subject] = len(self._subjects)
            self._subjects.append(subject)
        return found

    def _action(self, kind: str, subject: int, count: int, by_byzantine: bool) -> int:
        key = (kind, subject, count, by_byzantine)
        found = self._action_numbers.get(key)
        if found is None:
            found = self._action_numbers[key] = len(self._actions)
            self._actions.append((kind, self._subjects[subject], count, by_byzantine))
        return found

    def _own_steps(self, local: int) -> tuple[int, ...]:
        """Return what can happen to a validator whatever the others said."""
        found = self._steps.get(local)
        if found is None:
            numbers = []
            for action in steps_of(self.nodes[local], self.scope.views):
                number = self._action_numbers.setdefault(action, len(self._actions))
                if number == len(self._actions):
                    self._actions.append(action)
                numbers.append(number)
            found = self._steps[local] = tuple(numbers)
        return found

    def _enabled(self, local: int, heard: Heard) -> Iterator[tuple[int, bool]]:
        """Yield what can happen to a validator, and whether it needs no help of the Byzantine one."""
        for number in self._own_steps(local):
            yield number, True
        for subject in self._proposals:
            yield self._action("propose", subject, 0, False), False
        node, said = self.nodes[local], self.said[local]
        own = [(subject, 0, False) for subject in said if all(subject != other for other, _, _ in heard)]
        for subject, count, is_relayed in (*heard, *own):
            content = self._subjects[subject]
            if not node.finalized_view < content.view <= self.scope.views:
                continue
            is_proposal = content.kind == NOTARIZE and leader_of(content.view) not in (
                node.index,
                self.scope.byzantine,
            )
            if is_proposal and count:
                yield self._action("propose", subject, 0, False), True
            if subject in self.certificates[local]:
                continue
            yield self._action("votes", subject, count, False), True
            yield self._action("votes", subject, count, True), False
            for by_byzantine in (False, True):
                signers_count = count + (subject in said) + by_byzantine
                if signers_count >= QUORUM - 1:
                    # With one signature too few it is a lie that only the Byzantine one tells.
                    is_honest = signers_count >= QUORUM and (not by_byzantine or is_relayed)
                    yield self._action("certificate", subject, count, by_byzantine), is_honest

    def _hear(self, first: int, second: int) -> int:
        """Return the number of what two others made public: how many said it, and whether one relays it."""
        pair = (first, second) if first < second else (second, first)
        found = self._heard_numbers.get(pair)
        if found is None:
            publics = [self.public_values[number] for number in pair]
            subjects = {self._number(subject) for public in publics for subject in public.said}
            heard = tuple(
                (
                    number,
                    sum(self._subjects[number] in public.said for public in publics),
                    any(self._subjects[number] in public.certificates for public in publics),
                )
                for number in sorted(subjects)
            )
            found = self._heard_ids.setdefault(heard, len(self._heard))
            if found == len(self._heard):
                self._heard.append((heard, pair))
            self._heard_numbers[pair] = found
        return found

    def moves(self, local: int, first: int, second: int) -> tuple[Move, ...]:
        """Return where one validator can go, given what the two others made public."""
        heard = self._hear(first, second)
        key = local << ID_BITS | heard
        found = self._moves.get(key)
        if found is None:
            search = self._glued_moves if self.scope.glued else self._single_moves
            found = self._moves[key] = search(local, *self._heard[heard])
        return found

    def _single_moves(self, local: int, heard: Heard, _: tuple[int, int]) -> tuple[Move, ...]:
        moves: dict[int, Move] = {}
        for action, is_honest in self._enabled(local, heard):
            after, crashed = self._outcome(local, action)
            if after != local and (after not in moves or (is_honest and not moves[after][2])):
                moves[after] = (after, ((action, None),), is_honest)
            for restarted, point in crashed:
                moves.setdefault(restarted, (restarted, ((action, point),), False))
        return tuple(moves.values())

    def _glued_moves(self, local: int, heard: Heard, others: tuple[int, int]) -> tuple[Move, ...]:
        """Reduction: silent steps are glued to what they lead to. Each step is judged on the way."""
        moves: dict[int, Move] = {}
        paths: dict[int, tuple[Step, ...]] = {local: ()}
        waiting = [local]
        while waiting:
            at = waiting.pop()
            for action, is_honest in self._enabled(at, heard):
                after, crashed = self._outcome(at, action)
                for following, point in ((after, None), *crashed):
                    if following in paths or following in moves:
                        continue
                    path = (*paths[at], (action, point))
                    is_silent = self.said[following] == self.said[local] and point is None
                    is_sound = self.nodes[following].wrong_view is None
                    if is_silent and is_sound and self._claim(self.judged[following], *others) is None:
                        paths[following] = path
                        waiting.append(following)
                    else:
                        moves[following] = (following, path, is_honest)
        return tuple(moves.values())

    def _successors(self, ids: tuple[int, int, int]) -> Iterator[tuple[State, int, tuple[Step, ...], bool]]:
        publics, nodes = self.publics, self.nodes
        for position in range(HONEST_COUNT):
            local = ids[position]
            first, second = ids[position - 1], ids[position - 2]
            may_crash = not (nodes[first].has_crashed or nodes[second].has_crashed)
            for after, action, is_honest in self.moves(local, publics[first], publics[second]):
                if nodes[after].has_crashed and not may_crash:
                    continue
                yield pack((after, first, second)), position, action, is_honest

    # Search.

    def initial(self) -> State:
        """Return the state after the start of all."""
        return pack(self._starts)

    def search(self) -> Report:
        """Explore, breadth first, until everything, a violation or a bound is reached."""
        report, began = self.report, time.perf_counter()
        start = self.initial()
        parents = self.reached = {start: start}
        state = start
        try:
            self._check(start)
            for state, after in self._walk(parents, start, began):
                if after is None:
                    self._check_quiescent(self._completed(state) if self.scope.glued else state)
                elif after not in parents:
                    parents[after] = state
                    state = after
                    self._check(after)
        except (Violation, CoreStopped) as error:
            report.failure = f"{type(error).__name__}: {error}"
            report.trace = [
                (index, self._actions[action], point)
                for index, (action, point) in self._trace(parents, state)
            ]
        report.states = len(parents)
        report.local_states = len(self.nodes)
        report.seconds = time.perf_counter() - began
        self._count_rare()
        return report

    def spoken_together(self) -> set[tuple[tuple[object, ...], ...]]:
        """Return which sets of votes were said by the three at one time: what a sound reduction keeps."""
        leads = [
            tuple(view for view in range(1, self.scope.views + 1) if leader_of(view) == node.index)
            for node in self.nodes
        ]
        spoken = [
            (leads[local], tuple(sorted(map(name_of, node.said))), node.has_crashed)
            for local, node in enumerate(self.nodes)
        ]
        return {tuple(sorted(spoken[local] for local in unpack(state))) for state in self.reached}

    def _walk(
        self, parents: dict[State, State], start: State, began: float
    ) -> Iterator[tuple[State, State | None]]:
        """Yield each transition; with None, a state in which honest validators can do nothing more."""
        report, level, expanded = self.report, [start], 0
        while level:
            following: list[State] = []
            for position, state in enumerate(level):
                if position % 100 == 0 and self._is_over(began, len(parents)):
                    report.waiting = len(level) - position + len(following)
                    return
                can_go_on = False
                for after, _, _, is_honest in self._successors(unpack(state)):
                    report.transitions += 1
                    can_go_on = can_go_on or is_honest
                    if after not in parents:
                        yield state, after
                        following.append(after)
                expanded += 1
                is_sampled = self.scope.glued and expanded % self.scope.completion_every == 0
                if is_sampled or not (can_go_on or self.scope.glued):
                    yield state, None
            report.depth += bool(following)
            level = following

    def _is_over(self, began: float, states: int) -> bool:
        scope = self.scope
        return (scope.states_max is not None and states >= scope.states_max) or (
            scope.seconds_max is not None and time.perf_counter() - began >= scope.seconds_max
        )

    def _check(self, state: State) -> None:
        claim = self._claim(*(self.judged[local] for local in unpack(state)))
        wrong_views = (self.nodes[local].wrong_view for local in unpack(state))
        wrong = claim or next((each for each in wrong_views if each is not None), None)
        if wrong is not None:
            raise Violation(wrong)

    def _claim(self, *publics: int) -> str | None:
        """Return the claim that does not hold for three validators, if any."""
        key = tuple(sorted(publics))
        if key not in self._claims:
            claim: str | None = None
            try:
                check([self.public_values[number] for number in key])
            except Violation as error:
                claim = str(error)
            self._claims[key] = claim
        return self._claims[key]

    def _check_quiescent(self, state: State) -> None:
        """L1: when all that honest validators sent has arrived and time has passed, all have left the views."""
        self.report.quiescent += 1
        for local in unpack(state):
            node = self.nodes[local]
            if node.current_view <= self.scope.views:
                raise Violation(f"L1: validator {node.index} stays in view {node.current_view} for good")

    def _completed(self, state: State) -> State:
        """Let honest validators go on alone, in an order that differs from state to state, to the end."""
        ids, turn = list(unpack(state)), state
        while True:
            options = [
                (position, move[0])
                for position in range(HONEST_COUNT)
                for move in self._honest_moves(ids[position], ids[position - 1], ids[position - 2])
            ]
            if not options:
                return pack(ids)
            turn = turn * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407 & (1 << 64) - 1
            position, after = options[(turn >> 33) % len(options)]
            ids[position] = after

    def _honest_moves(self, local: int, first: int, second: int) -> tuple[Move, ...]:
        heard = self._hear(self.judged[first], self.judged[second])
        key = local << ID_BITS | heard
        found = self._alone.get(key)
        if found is None:
            moves = self._single_moves(local, *self._heard[heard])
            found = self._alone[key] = tuple(move for move in moves if move[2])
        return found

    def _count_rare(self) -> None:
        """Count local states that show that the interesting situations occurred."""
        rare = self.report.rare
        for node in self.nodes:
            finals = node.finalized_view > 0
            nulls = any(subject.kind == NULLIFY for subject in node.certificates)
            rare["a validator finalized"] = rare.get("a validator finalized", 0) + finals
            rare["a view was nullified"] = rare.get("a view was nullified", 0) + nulls
            rare["a validator restarted"] = rare.get("a validator restarted", 0) + node.has_crashed

    def _trace(self, parents: dict[State, State], last: State) -> list[tuple[int, Step]]:
        """Return the steps to a state; which validator, what, and where it crashed."""
        path = [last]
        while parents[path[-1]] != path[-1]:
            path.append(parents[path[-1]])
        path.reverse()
        steps: list[tuple[int, Step]] = []
        ids, indices = list(self._starts), self._honest
        for after in path[1:]:
            position, move = self._find_move(ids, after)
            ids[position] = move[0]
            steps.extend((indices[position], step) for step in move[1])
        return steps

    def _find_move(self, ids: list[int], after: State) -> tuple[int, Move]:
        for position in range(HONEST_COUNT):
            first, second = ids[position - 1], ids[position - 2]
            for move in self.moves(ids[position], self.publics[first], self.publics[second]):
                if pack((move[0], first, second)) == after:
                    return position, move
        raise AssertionError("a state has a way in")
