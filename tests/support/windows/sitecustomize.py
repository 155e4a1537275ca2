"""Takes away what Windows lacks from this process, before any module of ours or of a library is loaded.

Python imports a module of this name when it starts. The modules of the standard library that are loaded here keep what
they need of this machine; everybody else, and every process that this one starts, has what Windows has. `sys.platform`
stays, for libraries go by it: our own code must go by what there is.
"""

import importlib
import os
import signal
import sys
import types

# What an interpreter loads on this machine where it would load other modules on Windows.
OF_THIS_MACHINE = (
    *("asyncio", "asyncio.unix_events", "concurrent.futures.process", "concurrent.futures.thread", "ctypes"),
    *("getpass", "logging", "logging.handlers", "multiprocessing", "multiprocessing.connection"),
    *("multiprocessing.context", "multiprocessing.popen_spawn_posix", "multiprocessing.reduction"),
    *(
        "multiprocessing.resource_tracker",
        "multiprocessing.spawn",
        "multiprocessing.util",
        "pathlib",
        "platform",
    ),
    *(
        "random",
        "selectors",
        "shutil",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "uuid",
    ),
    *("urllib.request", "webbrowser", "zipfile"),
)
STANDS_IN = "msvcrt"


def take_away() -> None:
    """Leave this process with what Windows has."""
    import lacking  # type: ignore[import-not-found]  # beside this file, first on the path

    # That Windows has it is what `subprocess` goes by.
    sys.modules[STANDS_IN] = None  # type: ignore[assignment]
    fcntl = importlib.import_module("fcntl")
    for name in OF_THIS_MACHINE:
        importlib.import_module(name)
    for whole, names in ((os, lacking.OF_OS), (signal, lacking.OF_SIGNAL)):
        _keep_for_others(whole)
        for name in names:
            whole.__dict__.pop(name, None)
    os.supports_dir_fd = set()
    os.supports_effective_ids = set()
    os.supports_follow_symlinks = {os.stat}
    for name in lacking.MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    del sys.modules[STANDS_IN]
    importlib.import_module(STANDS_IN).__dict__["_flock"] = fcntl.flock


def _keep_for_others(whole: types.ModuleType) -> None:
    """Give the modules that are loaded a copy of one from which something is to be taken."""
    copy = types.ModuleType(whole.__name__, whole.__doc__)
    copy.__dict__.update(whole.__dict__)
    for module in [*sys.modules.values()]:
        for name, value in [*vars(module or sys).items()]:
            if value is whole and module is not sys.modules["__main__"] and module.__name__ != __name__:
                module.__dict__[name] = copy


take_away()
