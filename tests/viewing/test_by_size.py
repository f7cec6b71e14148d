"""Lines of scores by size."""

from types import SimpleNamespace

import matplotlib.image
import numpy as np

from sensorium.viewing import by_size


def test_more_ways_than_colours_are_drawn_each_in_a_stroke_of_its_own(tmp_path):
    def scores(ways):
        return {
            f"way {number}": {
                size: SimpleNamespace(value=number / 10, low=number / 10 - 0.05, high=number / 10 + 0.05)
                for size in (2, 8, 32)
            }
            for number in range(ways)
        }

    ways = len(by_size.COLOURS) + 2
    by_size.save(tmp_path / "few.png", scores(ways - 1), "few", plain=("way 0",), lines={"majority": 0.2})
    by_size.save(tmp_path / "all.png", scores(ways), "all", plain=("way 0",), lines={"majority": 0.2})
    few, every = (matplotlib.image.imread(tmp_path / name) for name in ("few.png", "all.png"))
    first = np.array([int(by_size.COLOURS[0][n : n + 2], 16) / 255 for n in (1, 3, 5)])

    def of_first(picture):
        return int((np.abs(picture[..., :3] - first).max(-1) < 0.02).sum())

    assert of_first(every) > 1.5 * of_first(few) > 0  # the seventh has the first one's colour again
