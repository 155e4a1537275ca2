"""The errors of Luohu: one shape, one tree.

Rule 1: every refusal of an input is a `LedgerError` with a stable code, what was expected and what was found.
Rule 2: a broken invariant of our own is an `assert`, never one of these.
Rule 3: an error is made with keywords alone, and only `LuohuError` keeps its parts.
Rule 4: a call that no input could make right is a `WrongCall`: a path where bytes belong, a float for a time. It is
raised before anything is looked at, for whoever wrote the call; it is no `LedgerError`, so that nobody who catches
refusals tells a holder that a document was refused.

    LuohuError                  something is not as it must be
      LedgerError               an input was refused
        EncodingError           bytes or JSON that are not the canonical encoding of a value of the shape
          Misfit                a value that does not fit its shape; the walk says more
        ItemsContradict         two items of a request that one document could answer
        SignatureError          a signature or key that does not verify
        ProofError              a Merkle or state proof that does not lead to the expected root
        TransactionError        a transaction that is malformed, whatever the state
        Refused                 a transaction that does not apply to this state
        WrongChain              something signed for another chain
        BeyondLimits            a transaction that no block of this chain can hold
        StateError              a state value that is not what its key or its kind demands
        StatePageError          a stored page of the state tree that is not what the tree needs there
        UnknownProtocol         a block whose rules this release does not know
        BlockError              a block that does not follow from its parent
          Divergence            a block whose header does not state what executing it gives
        CertificateError        a quorum certificate that does not prove what it claims
        SnapshotError           a snapshot that is not the state of its block
        GenesisError            a genesis that founds no chain
        TrustError              a trusted root that is none, or a path that does not lead from it
          OlderEpochError       a header of an epoch before the newest pin
        VerificationError       a document, its proof or its use that is refused
          BundleError           an archive that is not exactly a document and its proof
          FilesExchanged        a document and a proof that look as if each were named as the other
          ListError             documents that were not presented together, or not all of them
          ListRefused           a list of documents that was refused
          DisclosureError       shown fields, or their binding, that are refused
          SetError              a set that is shown, or its files, that are refused
        UnfitSet                files that make no set, or bytes that are none
        ReceiptError            a receipt that is not the one of this consent
        TextsError              a text bundle that is none, or that lacks a text
        RequestRefused          a request that no consent can answer
        PresentationRefused     a proof that cannot be presented for a request
        TwoHistories            two final blocks of one height, both under the trusted root
        ErasureRefused          something stands against erasing
        UnknownLeaf             evidence was asked for what the ledger does not hold
        Revoked                 evidence was asked for a document that its issuer revoked
        TooLarge                evidence of so many documents takes more bytes than one answer has
        NotHeld                 a block that this node does not hold: a snapshot stood in for it
        CoreLogError            a core log that cannot be replayed
        TimingError             timing that would make the protocol stall by itself
      UnfitEnvironment          a library here answers otherwise than the rules demand
      WrongCall                 an argument that no input could make right; also a `TypeError`
      NodeError                 what a user meets at a node, at its files or at its client; it has a cure
        SetupError              the user's own set-up is wrong
          ConfigError           a home, configuration or scenario that cannot be used
          UnfitFile             a path that is not such a file as is wanted there; also an `OSError`
          PrivateFileError      a file that should be private is not, or cannot be read as one
          KeyFileError          a key or passphrase cannot be had
          WalletError           a wallet that cannot be used as asked
            WalletLocked        another process has this wallet open
            UnknownWalletKey    a key that this wallet does not hold
          RegisterError         a register that cannot be used, or does not hold what is asked for
            ReferenceTaken      a reference that names another document
          RulesUnknown          the network follows rules that this release does not know
          StoreError            the stored chain cannot be used
            StoreDamaged        the disk holds something else than the node wrote
            StoreRefused        the disk or the system refuses; no damage is meant
            StoreOfAnotherChain  an intact store that belongs to another genesis
            StoreOfAnotherVersion  an intact store that another release wrote
          VoteLogError          the vote log cannot be used; also an `OSError`
            VoteLogLocked       another process uses this vote log
            VoteLogForeign      a vote log of another chain or validator
            VoteLogOfAnotherVersion  an intact vote log that another release wrote
            VoteLogFull         the vote log has reached its largest size
          StartRefused          the node does not start
        RouteError              a request that its route refuses, before the node is asked
        MempoolError            a transaction that is not taken now
        NotReady                the node cannot answer yet
        ClientError             what a client meets at a node
          Unreachable           the node does not answer, or is not ready
          RefusedByNode         the node's answer is no
            ShownRefusal        what the ledger itself says no with, as evidence shows
          BadAnswer             what came is not an answer of this API
            Unproven            what a node says without evidence under the caller's trusted root
      CommandError              a command that ends without success, with its exit code
      FileLocked                another process holds the lock; also an `OSError`
      FrameError                a vote log's header that belongs to another version of the format
      SigningRefused            the core asked for a signature that could contradict an earlier one
      IdentityMissing           the state registers a TLS certificate whose key is not in the home
      HelloRefused              a peer's hello that is not one that we can talk to
      PinMismatch               a peer showed another TLS certificate than the registered one

Signals that one module of the node gives to another are plain exceptions. Users see neither parts nor a cure of them.

    PartsError                  a form whose parts are neither document and proof nor a bundle
    NodeStopped                 the node met its own broken invariant, and stops
    ConflictingCertificates     two certificates that cannot both exist under the assumed faults
    NotOnRecord                 the core wants a signature that its log does not hold
    DatabaseError               the database cannot be opened, read or written
      DatabaseLocked            this or another process has the database open
      DatabaseRefused           the disk or the system refused; nothing is said of what is stored
    SnapshotStoreError          the snapshot store could not be written
    NetworkStopped              the network has failed and delivers nothing more
    ConnectionEnded             a connection is over
    DialFailed                  a peer could not be reached, or is not the one expected
      Unanswered                nobody answered in time
      PinFailed                 somebody answered with another certificate than the pinned one
      HungUp                    somebody took the connection and ended it in place of an answer
    TurnedAway                  a connection that is turned away after its hello
    FormError                   bytes that are no form; a `ValueError`
    WorkerFailed                a worker process met a fault of ours
    FolderTaken                 a folder has the name that was drawn for another; a `FileExistsError`
"""


class LuohuError(Exception):
    """Something is not as it must be. `code` is stable; `where` names the place in the input, or the file."""

    code: str = "error"

    def __init__(
        self, *, where: str, expected: str, found: str, code: str | None = None, cure: str | None = None
    ) -> None:
        advice = "" if cure is None else f"; {cure}"
        super().__init__(f"{where or 'value'}: expected {expected}, found {found}{advice}")
        self.where = where
        self.expected = expected
        self.found = found
        self.cure = cure
        if code is not None:
            self.code = code


class LedgerError(LuohuError):
    """An input was refused."""

    code = "invalid"


class EncodingError(LedgerError):
    """Bytes or JSON that are not the one canonical encoding of a value of the expected shape."""

    code = "encoding"


class SignatureError(LedgerError):
    """A signature or key that does not verify."""

    code = "signature"


class ProofError(LedgerError):
    """A Merkle or state proof that does not lead to the expected root."""

    code = "proof"


class UnfitEnvironment(LuohuError):
    """A library here answers otherwise than the rules demand. Nothing may be verified, signed or voted for."""

    code = "unfit-environment"


class WrongCall(LuohuError, TypeError):
    """An argument that no input could make right. `where` is the argument, `cure` the words to write instead."""

    code = "wrong-call"
