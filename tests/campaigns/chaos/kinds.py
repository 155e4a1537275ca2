"""Which faults there are, and how often each is chosen beside the others."""

from tests.campaigns.chaos.certificates import rotate_certificate, swap_certificate
from tests.campaigns.chaos.faults import (
    Fault,
    Outage,
    cut,
    damage,
    deafen,
    fill_disk,
    isolate,
    kill,
    kill_many,
    mute,
    pause,
    pause_many,
    refuse_writes,
    reset_all,
    slow,
    slow_all,
    split,
    step_clock,
    stop,
)

ON_ONE: tuple[tuple[Fault, int], ...] = (
    (kill, 5),
    (stop, 1),
    (pause, 4),
    (isolate, 3),
    (deafen, 2),
    (mute, 2),
    (cut, 3),
    (slow, 3),
    (fill_disk, 2),
    (refuse_writes, 1),
    (damage, 8),
    (step_clock, 3),
    (rotate_certificate, 4),
    (swap_certificate, 2),
)
OUTAGES: tuple[Outage, ...] = (split, pause_many, kill_many)
WEATHER: tuple[Outage, ...] = (reset_all, slow_all)
