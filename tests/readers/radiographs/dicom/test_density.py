import numpy as np
import pytest

from tests.readers.radiographs.film_files import DX_PROCESSING, lut_item, read, same, says, stored, thorax, unit, write

THORAX = thorax()
PIXELS = stored(THORAX)
TWIN = 4095 - PIXELS
"""The same film as MONOCHROME1."""


@pytest.mark.parametrize(
    ("tags", "kind", "words"),
    [
        pytest.param({}, "changed", "MONOCHROME1", id="MONOCHROME1 alone"),
        pytest.param({"PresentationLUTShape": "INVERSE"}, "changed", "INVERSE", id="INVERSE too"),
        pytest.param({"PresentationLUTShape": "IDENTITY"}, "doubt", "MONOCHROME1 is taken", id="against IDENTITY"),
    ],
)
def test_monochrome1_is_inverted_once(tmp_path, tags, kind, words):
    image = read(write(tmp_path / "a.dcm", TWIN, PhotometricInterpretation="MONOCHROME1", **tags))
    same(image, unit(PIXELS))
    assert says(image, kind, "polarity", words)


ENTRIES = (np.linspace(0, 1, 4096) ** 0.5 * 65535).astype(np.uint16)


WINDOW = {"WindowCenter": 1800, "WindowWidth": 2400}


TWIN_WINDOW = {"WindowCenter": 4095 - 1800 + 1, "WindowWidth": 2400}


EXACT_TWIN = {"WindowCenter": 4095 - 1800, "WindowWidth": 2400}


PROCESSING = {"SOPClassUID": DX_PROCESSING, "PresentationIntentType": "FOR PROCESSING"}


def both(**tags):
    return tags, tags


TWINS = {
    "plain": both(),
    "8 bit": both(bits=8),
    "16 bit": both(bits=16),
    "rescaled": ({"RescaleSlope": 2}, {"RescaleSlope": 2, "RescaleIntercept": 5}),
    "window": (WINDOW, TWIN_WINDOW),
    "exact window": ({**WINDOW, "VOILUTFunction": "LINEAR_EXACT"}, {**EXACT_TWIN, "VOILUTFunction": "LINEAR_EXACT"}),
    "sigmoid": ({**WINDOW, "VOILUTFunction": "SIGMOID"}, {**EXACT_TWIN, "VOILUTFunction": "SIGMOID"}),
    "look-up table": (
        {"VOILUTSequence": [lut_item(ENTRIES, 16)]},
        {"VOILUTSequence": [lut_item(65535 - ENTRIES[::-1], 16)]},
    ),
    "modality table": (
        {"ModalityLUTSequence": [lut_item(ENTRIES, 16)]},
        {"ModalityLUTSequence": [lut_item(65535 - ENTRIES[::-1], 16)]},
    ),
    **{
        f"processing {name}": tuple(
            {**PROCESSING, "PixelIntensityRelationship": name, "PixelIntensityRelationshipSign": sign}
            for sign in (-1, 1)
        )
        for name in ("LIN", "LOG", "DISP")
    },
    "processing without sign": both(**PROCESSING, PixelIntensityRelationship="LOG"),
    "padded": ({"PixelPaddingValue": 4095}, {"PixelPaddingValue": 0}),
    "shutter": both(
        ShutterShape="RECTANGULAR",
        ShutterLeftVerticalEdge=51,
        ShutterRightVerticalEdge=950,
        ShutterUpperHorizontalEdge=31,
        ShutterLowerHorizontalEdge=1170,
    ),
}


@pytest.mark.parametrize(("tags", "twin_tags"), TWINS.values(), ids=TWINS.keys())
def test_the_monochrome1_twin_equals_the_monochrome2_twin(tmp_path, tags, twin_tags):
    bits = tags.get("bits", 12)
    pixels = stored(THORAX, bits)
    tags, twin_tags = ({k: v for k, v in t.items() if k != "bits"} for t in (tags, twin_tags))
    one = read(write(tmp_path / "2.dcm", pixels, bits, **tags))
    inverted = (2**bits - 1 - pixels.astype(int)).astype(np.uint16)
    twin_tags = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE", **twin_tags}
    other = read(write(tmp_path / "1.dcm", inverted, bits, **twin_tags))
    np.testing.assert_allclose(other.numpy(), one.numpy(), atol=2e-5)
    if one.numel() == THORAX.size:
        assert np.corrcoef(one.numpy().ravel(), THORAX.ravel())[0, 1] > 0.9


def test_a_detector_that_is_linear_in_exposure_becomes_attenuation(tmp_path):
    line_integral = 6 * THORAX
    exposure = np.rint(50000 * np.exp(-line_integral)).astype(np.uint16)
    path = write(
        tmp_path / "a.dcm",
        exposure,
        16,
        **PROCESSING,
        PixelIntensityRelationship="LIN",
        PixelIntensityRelationshipSign=1,
        PhotometricInterpretation="MONOCHROME1",
    )
    image = read(path)
    same(image, unit(line_integral), atol=0.02)
    assert says(image, "changed", "tone", "logarithm")
