# Two commands do everything on a machine with Python 3.11 or later and make: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := -m pip --quiet --disable-pip-version-check install

# Tests in as many processes as pay here (tests/conftest.py), each given one test at a time, the slow ones first.
PARALLEL := $(BIN)/pytest -n auto --maxschedchunk 1

# Each process of the tests, and the nodes that they start, take compiled code from the one before.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo quick test long check coverage records lock simulate soak abuse explore mutate stale large fuzz witness bench clean

demo: $(VENV)/installed
	$(BIN)/luohu demo

# After every edit: the house's rules, and the unit tests of rules and core. Under a minute on two quiet cores.
quick: $(VENV)/installed check
	$(PARALLEL) -m "not slow and not alone" tests/house tests/ledger tests/attacks tests/node/consensus

# Everything that guards a merge: make test [SEEDS=150], so many fixed histories of whole nodes and so many of the commit.
test: $(VENV)/installed check
	$(PARALLEL) -m "not alone" --durations 15 $(if $(SEEDS),--seeds $(SEEDS))
	$(BIN)/pytest -m alone $$(grep -rl --include 'test_*.py' 'pytest\.mark\.alone' tests)

# The rest, each part within a bound: more than an hour. The last part needs Chromium.
long: $(VENV)/installed large
	$(MAKE) simulate SEEDS=$(or $(SEEDS),500) START=$(or $(START),10000)
	$(MAKE) explore VIEWS=2 MINUTES=10
	$(MAKE) soak MINUTES=10
	$(MAKE) abuse
	$(BIN)/python -m tests.campaigns.fuzz --minutes 0.2
	$(MAKE) witness

# How much of the code the unit tests reach, by package; it fails more than a point below what pyproject.toml says.
coverage: $(VENV)/installed
	rm -rf build/coverage
	$(BIN)/coverage run -m pytest -n auto --maxschedchunk 1 -m "not slow and not alone" \
		tests/ledger tests/node tests/cli tests/attacks
	$(BIN)/coverage combine --quiet
	$(BIN)/python -m tests.support.coveragereport

check: $(VENV)/installed
	$(BIN)/ruff format --check ledger node cli tests bench examples
	$(BIN)/ruff check ledger node cli tests bench examples
	$(BIN)/mypy

# Generate the code that reads and writes each record, from the shapes in the record classes (docs/decisions/0019).
records: $(VENV)/installed
	$(BIN)/python -m tests.support.recordgenerator

# Chaos over real node processes: make soak MINUTES=60 [FAULTS=500] [SEED=1] [NODES=4] [OUT=figures.txt]
soak: $(VENV)/installed
	$(BIN)/python -m tests.campaigns.chaos --minutes $(or $(MINUTES),5) --faults $(or $(FAULTS),0) --seed $(or $(SEED),1) --nodes $(or $(NODES),4) $(if $(OUT),--out $(OUT))

# Floods at a node's API and peer port, and what they cost others: make abuse [SECONDS=20] [KINDS="member_spam garbage"]
abuse: $(VENV)/installed
	$(BIN)/python -m tests.campaigns.abuse --seconds $(or $(SECONDS),20) $(KINDS)

# Every package is one release, checked by its hash, and ours is built with what is then there (docs/decisions/0016).
$(VENV)/installed: pyproject.toml requirements/dev.lock
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Luohu needs Python 3.11 or later; found " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 test")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) --require-hashes --requirement requirements/dev.lock
	$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

# Choose the newest releases that pyproject.toml allows, for every promised Python and platform: make lock.
# KEEP=1 changes no version that still fits; it only adds what is new and drops what is gone.
LOCK_BIN := build/lock/bin
LOCK := $(LOCK_BIN)/uv --no-config pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-build \
	--custom-compile-command "make lock" $(if $(KEEP),,--upgrade)
lock:
	$(PYTHON) -m venv --clear build/lock
	$(LOCK_BIN)/python $(PIP_INSTALL) --require-hashes --requirement requirements/renewal.lock
	$(LOCK) pyproject.toml --extra dev --output-file requirements/dev.lock
	$(LOCK) pyproject.toml --constraint requirements/dev.lock --output-file requirements/library.lock
	$(LOCK) --group renewal --output-file requirements/renewal.lock

# SEEDS histories from seed START on, in JOBS processes; OUT=file appends the figures, for campaigns in shards.
simulate: $(VENV)/installed
	$(BIN)/python -m tests.campaigns.simulation.whole --seeds $(or $(SEEDS),100) --start $(or $(START),0) $(if $(JOBS),--jobs $(JOBS)) $(if $(OUT),--out $(OUT))

# Every schedule of the consensus core in a small world: make explore VIEWS=1|2|3 [MINUTES=…] (docs/exploration.md)
explore: $(VENV)/installed
	$(BIN)/python -m tests.campaigns.exploration --views $(or $(VIEWS),1) $(if $(MINUTES),--minutes $(MINUTES))

# Every check of the verifier is necessary: a test fails without it. An hour; goes on where it was interrupted.
mutate: $(VENV)/installed
	nice -n 19 $(BIN)/python -m tests.campaigns.mutation --json tests/campaigns/mutation/result.json

# Whether the kept results of mutation and fuzzing are of the code as it is now.
stale: $(VENV)/installed
	$(BIN)/python -m tests.campaigns.mutation --status
	$(BIN)/python -m tests.campaigns.fuzz --status

# What takes long: a document of 2 GiB in constant memory, and an installation into a fresh environment.
large: $(VENV)/installed
	LUOHU_LARGE=1 $(BIN)/pytest tests/ledger/test_verifier_use.py tests/house/test_packaging.py

# Coverage-guided fuzzing of every decoder and the verifier: make fuzz MINUTES=10 (of processor time, for each target).
# It goes on where it was interrupted; OUT=tests/campaigns/fuzz/result.json writes what all runs on this code add up to.
fuzz: $(VENV)/installed
	$(BIN)/python $(PIP_INSTALL) --no-build-isolation --editable '.[fuzz]'
	nice -n 19 $(BIN)/python -m tests.campaigns.fuzz --minutes $(or $(MINUTES),1) $(if $(OUT),--json $(OUT)) $(TARGETS)

# The library and the page in web/ answer the same random questions: make witness QUESTIONS=20000 [FIRST=0]. Needs Chromium.
witness: $(VENV)/installed
	$(BIN)/python -m tests.campaigns.witness --questions $(or $(QUESTIONS),10000) --first $(or $(FIRST),0)

# Every figure beside its limit, into bench/results: make bench [NAMES="commit verify"]. Half an hour, alone on the machine.
bench: $(VENV)/installed
	$(BIN)/python -m bench.suite --out bench/results $(NAMES)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
