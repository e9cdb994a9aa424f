"""What goes wrong, itself."""

from collections import Counter

from faults.schedule import LINKS, VICTIMS, Cut, Kill, Link, schedule_of


def kinds_of(victims: Counter[str]) -> Counter[str]:
    return Counter({kind: sum(victims[name] for name in names) for kind, names in VICTIMS.items()})


class TestASchedule:
    def test_is_the_same_for_the_same_seed(self) -> None:
        assert schedule_of("a", kills=100) == schedule_of("a", kills=100)
        assert schedule_of("a", kills=100) != schedule_of("b", kills=100)

    def test_has_as_many_kills_as_asked_for_and_of_each_kind_as_many(self) -> None:
        kills = Counter(step.fault.victim for step in schedule_of("a", kills=100) if isinstance(step.fault, Kill))
        assert kills.total() == 100
        assert set(kills) == {name for names in VICTIMS.values() for name in names}
        assert set(kinds_of(kills).values()) == {16, 17}

    def test_has_every_kind_though_it_is_short(self) -> None:
        kills = Counter(step.fault.victim for step in schedule_of("a", kills=7) if isinstance(step.fault, Kill))
        assert min(kinds_of(kills).values()) == 1

    def test_spares_whom_it_should_and_hastens(self) -> None:
        steps = schedule_of("a", kills=100, spared=["redis"], haste=5)
        kills = [step.fault for step in steps if isinstance(step.fault, Kill)]
        assert "redis" not in {kill.victim for kill in kills}
        assert max(kill.down for kill in kills) <= 0.3
        assert max(step.fault.seconds for step in steps if isinstance(step.fault, Cut)) <= 1.2

    def test_cuts_every_link_and_in_every_way(self) -> None:
        cuts = [step.fault for step in schedule_of("a", kills=1_000) if isinstance(step.fault, Cut)]
        assert {cut.link for cut in cuts} == set(LINKS)
        assert len({cut.way for cut in cuts}) == 6

    def test_tells_what_it_does(self) -> None:
        link = Link("rest-api", "redis")
        assert str(Kill("redis", 1.25)) == "redis killed, down for 1.2 s"
        assert str(Cut(link, "dropped", 3, 0.5)) == "rest-api to redis dropped"
        assert str(Cut(link, "delayed", 3, 0.5)) == "rest-api to redis delayed by 0.50 s for 3.0 s"
        assert str(Cut(link, "black hole", 3, 0.5)) == "rest-api to redis black hole for 3.0 s"
