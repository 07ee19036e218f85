from loadprofiles.outlook import Outlook


def test_nothing_is_known_before_the_first_answer() -> None:
    outlook = Outlook()
    assert outlook.earliest_ns == 0
    assert outlook.short


def test_the_earliest_creeps_up_to_answers_that_all_take_the_same() -> None:
    outlook = Outlook()
    for _ in range(2000):
        outlook.took(1_000_000)
    assert 990_000 < outlook.earliest_ns <= 1_000_000


def test_the_earliest_drops_at_once() -> None:
    outlook = Outlook()
    for _ in range(2000):
        outlook.took(5_000_000)
    outlook.took(700_000)
    assert outlook.earliest_ns == 700_000


def test_answers_are_short_until_they_typically_take_longer() -> None:
    outlook = Outlook()
    outlook.took(40_000_000)
    assert outlook.short  # a single one
    for _ in range(50):
        outlook.took(40_000_000)
    assert not outlook.short
