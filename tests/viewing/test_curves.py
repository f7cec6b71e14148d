"""Which scores are drawn over the steps of a run."""

from sensorium.viewing.curves import curves


def history(*names):
    return [{"step": step, "scores": {name: {"value": step / 10} for name in names}} for step in (1, 2, 3)]


def test_accuracies_are_drawn_as_retrieval_is():
    drawn = curves(
        history("scenes.new.there.accuracy", "text_to_image.R@1", "zero_shot.top-1", "answers.cider")
    )
    assert "Scores during training" in drawn
    for name in ("there · accuracy", "image · R@1", "zero shot · top-1"):
        assert name in drawn
    assert "cider" not in drawn
    assert curves(history("answers.cider")) == ""
