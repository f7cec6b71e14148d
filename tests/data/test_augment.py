"""Augmentation of batches: what is drawn anew, what stays, and that equal seeds give equal views."""

import pickle
import sys

import pytest
import torch

from sensorium.data.augment import AugmentedPictures, BatchAugmentation, Pictures, crops, simclr


@pytest.fixture
def pixels() -> torch.Tensor:
    """Left half red, right half blue, each row of pixels a little darker."""
    made = torch.zeros(6, 3, 32, 32, dtype=torch.uint8)
    shade = torch.linspace(255, 128, 32).to(torch.uint8)[:, None]
    made[:, 0, :, :16] = shade
    made[:, 2, :, 16:] = shade
    return made


def test_the_same_seed_draws_the_same_views_and_every_picture_its_own(pixels):
    augment = simclr(24)
    torch.manual_seed(1)
    once = augment(pixels)
    torch.manual_seed(1)
    again = pickle.loads(pickle.dumps(augment))(pixels)
    other = augment(pixels)
    assert once.shape == (6, 3, 24, 24)
    assert once.dtype == torch.uint8
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert len({bytes(picture.numpy().tobytes()) for picture in once}) == 6


def test_the_whole_picture_is_itself_and_its_mirror_image_the_reverse(pixels):
    whole = BatchAugmentation(32, (1.0, 1.0), mirror=0.0)
    torch.manual_seed(0)
    # An aspect other than 1 cannot hold the whole area: kornia then falls back to the centre, all of it here.
    same = (whole(pixels).int() - pixels.int()).abs().flatten(1).amax(1) <= 1
    assert same.any()
    mirrored = BatchAugmentation(32, (1.0, 1.0), mirror=1.0)
    turned = (mirrored(pixels).int() - pixels.flip(-1).int()).abs().flatten(1).amax(1) <= 1
    assert turned.any()


def test_grey_has_three_equal_channels_and_crops_keep_colours(pixels):
    grey = BatchAugmentation(16, grey=1.0)(pixels)
    assert torch.equal(grey[:, 0], grey[:, 1])
    assert torch.equal(grey[:, 0], grey[:, 2])
    cropped = crops(16, 0.3)(pixels)
    assert (cropped[:, 1] == 0).all()  # nothing in the picture is green
    assert cropped.amax((1, 2, 3)).min() > 120
    jittered = BatchAugmentation(16, jitter=1.0)(pixels)
    assert not torch.equal(jittered.amax((2, 3)), cropped.amax((2, 3)))


def test_a_small_crop_shows_less_of_the_picture(pixels):
    """A tenth of the area spans about a third of the height: fewer shades than the whole has."""
    torch.manual_seed(0)
    near = BatchAugmentation(32, (0.1, 0.1), mirror=0.0)(pixels)
    brightest, darkest = near.amax((1, 3)).amax(1).int(), near.amax((1, 3)).amin(1).int()
    assert ((brightest - darkest) < 70).all()  # the whole picture: 127


def test_blur_takes_the_edge_between_the_halves(pixels):
    sharp, soft = (BatchAugmentation(32, (1.0, 1.0), mirror=0.0, blur=p) for p in (0.0, 1.0))
    torch.manual_seed(3)
    edge = (sharp(pixels)[:, 0].int().diff(dim=-1)).abs().amax((1, 2)).float().mean()
    torch.manual_seed(3)
    softer = (soft(pixels)[:, 0].int().diff(dim=-1)).abs().amax((1, 2)).float().mean()
    assert softer < 0.9 * edge


def test_two_columns_are_two_views_of_the_rows_asked_for(pixels):
    pictures = Pictures(list("abcdef"), pixels, {"group": [0, 1, 2, 3, 4, 5]})
    collate = AugmentedPictures(pictures, {"first": crops(32), "second": crops(32)})
    batch = collate([4, 1])
    assert batch.ids == ("e", "b")
    assert batch.fields == {"group": [4, 1]}
    assert (batch.meanings == -1).all()
    first, second = (batch.columns[name].inputs["pixels"] for name in ("first", "second"))
    assert first.shape == second.shape == (2, 3, 32, 32)
    assert not torch.equal(first, second)
    plain = collate.plain()([4, 1])
    assert list(plain.columns) == ["first"]
    assert torch.equal(plain.columns["first"].inputs["pixels"], pixels[[4, 1]])
    some = pictures.some(3)
    assert some.ids == ["a", "c", "e"]
    assert some.fields == {"group": [0, 2, 4]}
    assert pictures.some(6) is pictures


def test_what_is_no_batch_of_pictures_is_said():
    with pytest.raises(ValueError, match=r"got torch.float32\[1, 3, 8, 8\]; expected uint8"):
        crops(8)(torch.zeros(1, 3, 8, 8))


def test_without_kornia_it_says_what_to_type(monkeypatch, pixels):
    monkeypatch.setitem(sys.modules, "kornia.augmentation", None)
    with pytest.raises(ValueError, match=r"pip install 'sensorium\[augmentation\]'"):
        crops(8)(pixels)


@pytest.mark.parametrize("colours", [False, True])
def test_views_are_those_that_kornia_makes_of_the_same_draws(colours):
    """All of it by kornia, one step after the other, against what is computed here in fewer passes."""
    import kornia.augmentation as kornia

    random = torch.Generator().manual_seed(0)
    pixels = torch.nn.functional.avg_pool2d(
        torch.randint(0, 256, (40, 3, 50, 48), generator=random).float(), 5, 1, 2
    )
    pixels = (2 * pixels - 128).clamp(0, 255).byte()  # up to the ends of the range
    pixels[:4] = 128  # without any colour
    augment = simclr(32, 0.8, 0.2) if colours else crops(32, 0.3)
    steps = [kornia.RandomResizedCrop((32, 32), scale=augment.crop), kornia.RandomHorizontalFlip(p=0.5)]
    if colours:
        light, hue = 0.8 * 0.8, 0.2 * 0.8
        steps += [kornia.ColorJitter(light, light, light, hue, p=0.8), kornia.RandomGrayscale(p=0.2)]
        steps += [kornia.RandomGaussianBlur((3, 3), (0.1, 2.0), p=0.5)]
    torch.manual_seed(5)
    want = (torch.nn.Sequential(*steps)(pixels.float() / 255) * 255).round().int()
    torch.manual_seed(5)
    off = (augment(pixels).int() - want).abs()
    assert off.float().mean() < 0.3
    # Rounded once more, after the crop: by half a level, which strong contrast and a change of hue make more of.
    assert off.max() <= (4 if colours else 1)
