"""What reads machine code finds what it is there for."""

from __future__ import annotations

import pytest

from tests.kernels.sass import hazards

LOOP = """
LBB0:
-\tHGMMA.64x64x16.F32.BF16 R24, R56, gdesc[UR12], R24, gsb0;
-\tWARPGROUP.DEPBAR.LE gsb0, 0x1;
-\tHMUL2.BF16_V2 R60, R11, R12;
-\tHGMMA.64x64x16.F32.BF16 R64, R60, gdesc[UR12], R64, gsb0;
-\tWARPGROUP.DEPBAR.LE gsb0, {left};
-\tHMUL2.BF16_V2 R56, R11, R12;
-\t@P0 BRA LBB0;
"""


def test_a_register_that_a_running_product_uses_is_found() -> None:
    assert not hazards(LOOP.format(left="0x1"))
    assert set(hazards(LOOP.format(left="0x2"))) == {"HMUL2.BF16_V2 R56, R11, R12"}
    only_in_the_next_turn = LOOP.format(left="0x1").replace("R56, R11", "R57, R11").replace("R60, R11", "R63, R11")
    assert not hazards(only_in_the_next_turn)
    later = only_in_the_next_turn.replace("gsb0, 0x1;\n-\tHMUL2.BF16_V2 R63", "gsb0, 0x2;\n-\tHMUL2.BF16_V2 R63")
    assert set(hazards(later)) == {"HMUL2.BF16_V2 R63, R11, R12"}


def test_a_product_that_cannot_be_read_is_no_product_without_hazards() -> None:
    with pytest.raises(AssertionError):
        hazards("-\tHGMMA.64x64x16.F32.BF16 R24, gdesc[UR8], R24;")
