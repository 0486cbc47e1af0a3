"""What words of the command stand for which scenes."""

import json

import pytest

from geomtp.inference.scene_inputs import scene_inputs


def touched(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_files_folders_and_patterns(tmp_path):
    touched(tmp_path, "a/2.tif", "a/1.PNG", "a/notes.txt", "a/3.vrt", "b/x/1.jpg", "b/y/2.jpg")
    found = scene_inputs([str(tmp_path / "a"), str(tmp_path / "b/**/*.jpg")], 1)
    assert [one.name for one in found] == ["1-1", "2-1", "3", "1-2", "2-2"]
    assert found[3].paths == (str(tmp_path / "b/x/1.jpg"),)
    (one,) = scene_inputs(["/vsicurl/https://example.org/scenes/T32.tif?key=1"], 1)
    assert (one.name, one.paths[0][:9]) == ("T32", "/vsicurl/")


def test_what_stands_for_nothing_is_told(tmp_path):
    touched(tmp_path, "empty/notes.txt")
    with pytest.raises(FileNotFoundError, match="empty holds no image"):
        scene_inputs([str(tmp_path / "empty")], 1)
    with pytest.raises(FileNotFoundError, match="does not exist: expected an image, a folder"):
        scene_inputs([str(tmp_path / "*.tif")], 1)


def test_two_dates_come_in_pairs(tmp_path):
    touched(tmp_path, "t1/a.png", "t1/b.png", "t2/a.png", "t2/b.png", "t3/a.png")
    found = scene_inputs([str(tmp_path / "t1"), str(tmp_path / "t2")], 2)
    assert [one.name for one in found] == ["a--a", "b--b"]
    assert found[1].paths == (str(tmp_path / "t1/b.png"), str(tmp_path / "t2/b.png"))
    with pytest.raises(ValueError, match=r"holds 2 images and .* 1: change needs as many"):
        scene_inputs([str(tmp_path / "t1"), str(tmp_path / "t3")], 2)
    with pytest.raises(ValueError, match="the earlier first; found 1"):
        scene_inputs([str(tmp_path / "t1/a.png")], 2)


def test_of_a_stac_item_the_image_is_taken(tmp_path):
    def item(**assets):
        path = tmp_path / "item.json"
        path.write_text(json.dumps({"type": "Feature", "assets": assets}))
        return scene_inputs([str(path)], 1)[0].paths[0]

    image = {"href": "./scene.tif", "type": "image/tiff; application=geotiff", "roles": ["data"]}
    small = {"href": "small.png", "type": "image/png", "roles": ["thumbnail"]}
    page = {"href": "info.html", "type": "text/html"}
    assert item(scene=image, thumbnail=small, about=page) == str(tmp_path / "scene.tif")
    away = {"href": "/vsizip/a.zip/b.tif"}
    assert item(visual=away, B04=image) == "/vsizip/a.zip/b.tif"
    with pytest.raises(ValueError, match="has the images B03, B04: name the file of one"):
        item(B03=image, B04=image)
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(ValueError, match="is no STAC item"):
        scene_inputs([str(tmp_path / "other.json")], 1)


def test_names_of_results_differ(tmp_path):
    touched(tmp_path, "x/a.tif", "y/A.tif", "a-1.tif", "z/a.tif")
    named = [str(tmp_path / path) for path in ("x/a.tif", "y/A.tif", "a-1.tif", "z/a.tif")]
    assert [one.name for one in scene_inputs(named, 1)] == ["a-2", "A-3", "a-1", "a-4"]


def test_results_of_a_folder_are_no_images(tmp_path):
    done = ("a_summary.json", "a_semantic.tif", "a_preview.png")
    stopped = (".b.work/plan.json", "b_change.tif")
    touched(tmp_path, "a.tif", *done, "b.png", *stopped, "my_preview.png", "c_semantic.tif")
    images = ["a.tif", "b.png", "c_semantic.tif", "my_preview.png"]
    for named in ([tmp_path], [tmp_path / "*.tif", tmp_path / "*.png"]):
        found = scene_inputs(list(map(str, named)), 1)
        assert sorted(one.paths[0] for one in found) == [str(tmp_path / name) for name in images]
    (one,) = scene_inputs([str(tmp_path / "a_semantic.tif")], 1)  # where it is asked for
    assert one.name == "a_semantic"
