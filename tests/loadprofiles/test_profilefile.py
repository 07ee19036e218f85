"""Profile files: Inference Recommender's JSON as it is, and one line naming file, key and range for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.nouns import Segment
from loadprofiles.profilefile import read
from loadprofiles.registry import profile

# As the service's API reference prints it, only shorter.
PHASES = {
    "TrafficType": "PHASES",
    "Phases": [
        {"InitialNumberOfUsers": 1, "SpawnRate": 1, "DurationInSeconds": 120},
        {"InitialNumberOfUsers": 1, "SpawnRate": 2, "DurationInSeconds": 180},
    ],
}
STAIRS = {"TrafficType": "STAIRS", "Stairs": {"DurationInSeconds": 600, "NumberOfSteps": 5, "UsersPerStep": 2}}


def write(folder: Path, content: Any, name: str = "own.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("wrapped", [False, True])
def test_inference_recommenders_json_is_accepted_as_it_is(tmp_path: Path, wrapped: bool) -> None:
    def load(pattern: dict[str, Any]) -> tuple[Segment, ...]:
        return profile(str(write(tmp_path, {"TrafficPattern": pattern} if wrapped else pattern))).segments

    assert load(PHASES) == (Segment(duration_s=120, start=1, end=3), Segment(duration_s=180, start=1, end=7))
    assert load(STAIRS) == tuple(Segment(duration_s=120, start=users, end=users) for users in (2, 4, 6, 8, 10))
    assert profile(str(write(tmp_path, STAIRS)), duration_s=5).segments[0].duration_s == 1


def test_its_limits_are_lifted(tmp_path: Path) -> None:
    phase = {"InitialNumberOfUsers": 5000, "SpawnRate": 0.5, "DurationInSeconds": 7}
    path = write(tmp_path, {"TrafficType": "PHASES", "Phases": [phase] * 200})
    assert profile(str(path)).users == 5000


def _phase(**changes: Any) -> dict[str, Any]:
    first, second = PHASES["Phases"]
    return {"TrafficType": "PHASES", "Phases": [first, {**second, **changes}]}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_phase(InitialNumberOfUsers=7), r"Phases\.1\.InitialNumberOfUsers is 7, .* ends with 3 users; allowed: 1 to 6"),
        (_phase(InitialNumberOfUsers=10**9), r"Phases\.1\.InitialNumberOfUsers: must be .*1 to 10,000, not 1,000,000,000"),
        (_phase(InitialNumberOfUsers=1e9), r"InitialNumberOfUsers: must be a whole number, 1 to 10,000"),
        (_phase(InitialNumberOfUsers=10**400), r"InitialNumberOfUsers: must be .*1 to 10,000, not a number of more"),
        (_phase(SpawnRate=-1), r"SpawnRate: must be 0 to 600,000 users per minute, not -1"),
        (_phase(SpawnRate=600_000), r"comes to 1,800,001 users; allowed: up to 10,000"),
        (_phase(SpawnRate=True), r"SpawnRate: must be"),
        (_phase(SpawnRate="3"), r"SpawnRate: must be"),
        (_phase(DurationInSeconds=86_400), r"takes 86,520 s; allowed: up to 86,400"),
        (_phase(Users=1), r"Phases\.1\.Users: unknown key; allowed: InitialNumberOfUsers, SpawnRate, DurationInSeconds"),
        ({**PHASES, **STAIRS, "TrafficType": "PHASES"}, "and no Stairs"),
        ({"TrafficType": "PHASES", "Phases": []}, "at least one phase"),
        ({"TrafficType": "PHASES", "Phases": [PHASES["Phases"][0]] * 1001}, "at most 1000"),
        ({"TrafficType": "STAIRS"}, "needs Stairs"),
        ({"TrafficType": "WAVES"}, "'PHASES' or 'STAIRS'"),
        ({"TrafficType": "STAIRS", "Stairs": {**STAIRS["Stairs"], "NumberOfSteps": 0}}, "NumberOfSteps: must be"),  # type: ignore[dict-item]
        ('{"TrafficType": "PHASES", "TrafficType": "STAIRS"}', "a key appears twice"),
        ('{"arrivals": "poisson", "rate_per_s": NaN}', r"rate_per_s: must be above 0 and at most 1,000,000 per s, not nan"),
        ('{"arrivals": "poisson", "rate_per_s": 1e999}', "not inf"),
        ('{"arrivals": "poisson", "rate": 1}', "rate: unknown key; allowed: question, arrivals, rate_per_s"),
        ('{"rate_per_s": 1}', "arrivals: missing"),
        ('{"arrivals": "waves"}', "'constant', 'poisson', 'closed' or 'trace'"),
        ('{"arrivals": "closed", "rate_per_s": 1}', "rate_per_s does not go with arrivals = 'closed'"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("", "not JSON"),
        ("{}", "holds no keys"),
        ("[1]", "holds no keys"),
        ("[\ud800", "not JSON"),
        (" " * (1 << 20) + "{}", "larger than 1024 KiB"),
    ],
)
def test_what_is_wrong_is_said_with_file_key_and_range(tmp_path: Path, content: Any, said: str) -> None:
    path = tmp_path / "own.json"
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UsageError, match=said) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("arrivals = poisson", "not TOML"),
        ("", "holds no keys"),
        ('arrivals = "poisson"\nrate_per_s = -3', "rate_per_s: must be above 0 and at most 1,000,000 per s, not -3"),
        ('arrivals = "poisson"\nrate_per_s = nan', "not nan"),
        ('arrivals = "poisson"\nduration_s = 1\n[[segments]]\nduration_s = 1\ntimes = 1', "segments and duration_s each say"),
        ('arrivals = "poisson"\n[[segments]]\nduration_s = 1\ntimes = 0', "nothing is ever sent; allowed: above 0"),
        ('arrivals = "poisson"\n[[segments]]\nduration_s = 1\ntimes = 1e9', r"segments\.0\.times: must be 0 to 1,000"),
        ('arrivals = "poisson"\n[[segments]]\nlength = 1', r"segments\.0\.length: unknown key; allowed: duration_s, times"),
    ],
)
def test_toml_is_held_to_the_same(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text, "own.toml")
    with pytest.raises(UsageError, match=said) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_what_is_no_profile_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is a \.toml or \.json file"):
        read(write(tmp_path, "a: 1", "own.yaml"))
    with pytest.raises(UsageError, match="no such file"):
        read(tmp_path / "absent.toml")
    with pytest.raises(UsageError, match="no such file"):
        read(Path("/dev/zero.json"))
