"""What a processor's name says: vendor, family, how wide its vector units are, and whether its cores are alike. Pure."""

from __future__ import annotations

import re

_FAMILIES = (
    ("broadwell", r"broadwell|\bE[57]-\d{4}L? v4"),
    ("haswell", r"haswell|\bE[57]-\d{4}L? v3"),
    ("cascade lake", r"cascade|(platinum|gold|silver) (82|62|52|42)\d\d"),
    ("skylake", r"skylake|(platinum|gold|silver) (81|61|51|41)\d\d"),
    ("ice lake", r"ice lake|(platinum|gold|silver) (83|63|53|43)\d\d"),
    ("sapphire rapids", r"sapphire|(platinum|gold|silver) (84|64|54|44)\d\d|w7-2495X"),
    ("emerald rapids", r"emerald|(platinum|gold|silver) (85|65|55|45)\d\d"),
    ("granite rapids", r"granite|\b69\d\dP"),
    ("zen5", r"zen ?5|turin|epyc 9\d\d5"),
    ("zen4", r"zen ?4|genoa|epyc 9\d\d4|9R14"),
    ("zen3", r"zen ?3|milan|epyc 7\w\d3|7R13|7V13|ryzen \d 5\d\d\d"),
    ("zen2", r"zen ?2|rome|epyc 7\w\d2|7R32|7V12"),
    ("neoverse-v2", r"neoverse[- ]v2|graviton4"),
    ("neoverse-v1", r"neoverse[- ]v1|graviton3"),
    ("neoverse-n1", r"neoverse[- ]n1|graviton2"),
    ("cortex-a72", r"cortex-a72|graviton1"),
)
"""Family and what marks it in a model name; the first that matches counts."""

_HYBRID = re.compile(
    r"\bi[3579]-1[2-4]\d{3}|core\(?tm\)? ultra|core ultra|apple m\d|\d+x .*\+ *\d+x |\(big\).*\(little\)", re.I
)


def vendor_of(cpu_model: str) -> str:
    """`intel`, `amd` or `arm`, from a CPU's marketing name."""
    text = cpu_model.lower()
    if "intel" in text or "xeon" in text:
        return "intel"
    if "amd" in text or "epyc" in text or "ryzen" in text:
        return "amd"
    return "arm"


def family_of(cpu_model: str) -> str:
    """The family such as `sapphire rapids` or `neoverse-v1`, empty when the name does not tell, as behind some hypervisors."""
    return next((family for family, mark in _FAMILIES if re.search(mark, cpu_model, re.I)), "")


def isa_level(isa: str) -> int:
    """How wide the vector units are, as a rank within one architecture: NEON 0, AVX2 1, AVX-512 2, VNNI 3, AMX 4, SVE 2."""
    text = isa.upper()
    for level, mark in ((4, "AMX"), (3, ") VNNI"), (2, "AVX-512"), (1, "AVX2"), (3, "SVE2"), (2, "SVE")):
        if mark in text:
            return level
    return 0


def hybrid(cpu_model: str) -> bool:
    """Whether the name is of a processor with cores of several kinds, whose speed depends on which of them a thread gets."""
    return bool(_HYBRID.search(cpu_model))
