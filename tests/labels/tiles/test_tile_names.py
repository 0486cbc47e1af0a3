from geomtp.labels.tiles.tile_names import Tile, scene_of, tile_name, tile_of


def test_names_are_read():
    assert tile_of("images/P0006__1024__824___0.tif") == Tile("images/P0006", 1024, 824, 0)
    assert tile_of("a__b__682__0___33.png") == Tile("a__b", 682, 0, 33)
    assert tile_of("P0006.png") is None
    assert tile_of("P0006__1024__824.png") is None
    assert scene_of("a__b__682__0___33.png") == "a__b"
    assert scene_of("val/P0006.png") == "val/P0006"


def test_names_are_read_as_they_are_written():
    name = tile_name("val/P1.2.png", (824, 0, 1848, 1024))
    assert name == "val/P1.2__1024__824___0.tif"
    assert tile_of(name) == Tile("val/P1.2", 1024, 824, 0)
