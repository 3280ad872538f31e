from tests.readers.radiographs.film_files import read, refusal, same, says, stored, thorax, unit, write

PIXELS = stored(thorax())


def test_a_plain_film_is_the_array_that_was_written(tmp_path):
    image = read(write(tmp_path / "a.dcm", PIXELS))
    same(image, unit(PIXELS))
    assert (image.meta["view"], image.meta["spacing"], image.meta["computed"]) == ("pa", 0.35, None)
    assert not image.meta["record"].doubts
    assert "filename_or_obj" not in image.meta


def test_dicom_named_png_is_read_by_its_content(tmp_path):
    image = read(write(tmp_path / "a.png", PIXELS))
    same(image, unit(PIXELS))
    assert says(image, "found", "format", "DICOM by its content")


def test_burned_in_text_is_doubted(tmp_path):
    assert says(read(write(tmp_path / "a.dcm", PIXELS, BurnedInAnnotation="YES")), "doubt", "annotation")


DOUBTS = {
    "nema_rg1_chest_mono1_j2k.dcm": {"spacing", "collimator"},  # its edges, -184 to 184, are no columns
    "offis_modality_lut_18.dcm": {"modality"},
    "offis_voi_lut_04.dcm": {"modality"},
    "rsna_cr_patientC.dcm": {"spacing", "view"},
    "rsna_cr_patientE.dcm": {"spacing", "view"},
    **{f"rsna_cr_patient{name}.dcm": {"spacing"} for name in "ABDF"},
}


def test_real_dicom_films(real_data):
    files = sorted((real_data / "xray" / "dicom").glob("*.dcm"))
    assert len(files) == 14
    for file in files:
        if "wrong_modality" in file.name:
            assert "its modality is CT" in refusal(file)
            continue
        image = read(file)
        assert {doubt.subject for doubt in image.meta["record"].doubts} == DOUBTS.get(file.name, set()), file.name
        assert float(image.std()) > 0.1
