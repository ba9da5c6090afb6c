"""The sections `timeZone` and `windows` of a machine's configuration, as types (docs/bandwidth.md)."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from reconciler.domain.machine.maintenance_windows import DAYS, AnyWindow, CronWindow, Window, Windows, is_schedule
from reconciler.domain.text.units import read_duration
from reconciler.host.zones import find_zone
from reconciler.manifests.field_types import Duration, Strict, as_text, expect, one_of, optional, refusal
from reconciler.manifests.loader import Plain

MINUTE = 60.0
CRON_HINT = "minute, hour, day of the month, month, day of the week"
LONGEST_WINDOW = 7 * 24 * 3600.0


def _known_zone(name: str) -> str:
    if find_zone(name) is None:
        hint = "names are those of the IANA database; on a system without it: pip install tzdata"
        raise refusal("a time zone that this machine knows, such as Europe/Ljubljana", Plain(name), hint)
    return name


def _of_a_week(text: str) -> str:
    if not MINUTE <= (read_duration(text) or 0.0) <= LONGEST_WINDOW:
        raise refusal("a duration from 1m to 168h", Plain(text))
    return text


def _begins(text: str) -> str:
    if not is_schedule(text):
        raise refusal("a cron schedule of five fields such as 0 1 * * mon-fri", Plain(text), CRON_HINT)
    return text


CronSchedule = Annotated[
    str,
    Field(max_length=100),
    AfterValidator(_begins),
    expect("a cron schedule of five fields such as 0 1 * * mon-fri", as_text),
]
WindowLength = Annotated[Duration, AfterValidator(_of_a_week)]
TimeZone = Annotated[
    str, Field(max_length=64), AfterValidator(_known_zone), expect("a time zone such as Europe/Ljubljana", as_text)
]
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]"
TimeOfDay = Annotated[str, Field(pattern=f"^{_TIME}$"), expect("a time of day such as 06:30", as_text)]
EndOfWindow = Annotated[str, Field(pattern=f"^({_TIME}|24:00)$"), expect("a time of day from 00:00 to 24:00", as_text)]
DayOfWeek = Annotated[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], one_of(DAYS)]


class MaintenanceWindow(Strict):
    days: list[DayOfWeek] = Field(default=[], max_length=7, description="The days on which it starts; none: each.")
    start: TimeOfDay | None = optional("Time of day in `timeZone`; with `end`.")
    end: EndOfWindow | None = optional("Time of day; before `start` on the next day.")
    schedule: CronSchedule | None = optional("When it starts, in place of days and times; with `duration`.")
    duration: WindowLength | None = optional("How long a window with a schedule lasts (1m to 168h).")
    exclusive = (("start", "schedule"), ("end", "duration"))

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if (self.start is None) != (self.end is None):
            raise refusal("start and end, or schedule and duration", Plain("one of each"))
        if self.schedule is not None and self.days:
            raise refusal("no days beside a schedule", Plain(" ".join(self.days)), "name them in the schedule")
        if self.start is not None and self.start == self.end:
            raise refusal("another time than start", Plain(self.start), "a whole day is 00:00 to 24:00")
        return self

    @property
    def values(self) -> AnyWindow:
        if self.schedule is not None:
            return CronWindow(schedule=self.schedule, seconds=read_duration(self.duration or "") or 0.0)
        start, end = _minutes(self.start or ""), _minutes(self.end or "")
        return Window(start=start, end=end, days=frozenset(map(DAYS.index, self.days)))


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


class MaintenanceWindows(Strict):
    fetch: list[MaintenanceWindow] = Field(default=[], max_length=16, description="When downloads may go on.")
    build: list[MaintenanceWindow] = Field(
        default=[], max_length=16, description="When conversions and measurements may begin."
    )
    activate: list[MaintenanceWindow] = Field(
        default=[], max_length=16, description="When what is served may change; repairs may at any time."
    )

    @property
    def values(self) -> Windows:
        fetch, build, activate = (tuple(one.values for one in some) for some in (self.fetch, self.build, self.activate))
        return Windows(fetch=fetch, build=build, activate=activate)
