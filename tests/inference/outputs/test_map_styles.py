from xml.etree import ElementTree

import pytest

from geomtp.inference.outputs.map_styles import raster_style, vector_style
from geomtp.types import ClassMap

CLASSES = ClassMap(("ship", "<plane> & co"), ((255, 0, 0), (0, 16, 255)))


def test_each_class_of_a_layer_has_its_symbol():
    root = ElementTree.fromstring(vector_style(CLASSES))
    renderer = root.find("renderer-v2")
    assert (renderer.get("type"), renderer.get("attr")) == ("categorizedSymbol", "class")
    colours = {
        symbol.get("name"): symbol.find(".//Option[@name='outline_color']").get("value")
        for symbol in renderer.iter("symbol")
    }
    classes = {c.get("value"): colours[c.get("symbol")] for c in renderer.iter("category")}
    assert classes == {"ship": "255,0,0,255", "<plane> & co": "0,16,255,255"}


@pytest.mark.parametrize("style", [raster_style, vector_style])  # of one name beside a raster
def test_values_of_a_map_have_names_and_colours(style):
    root = ElementTree.fromstring(style(CLASSES))
    entries = [
        tuple(entry.get(key) for key in ("value", "label", "color", "alpha"))
        for entry in root.iter("paletteEntry")
    ]
    assert entries == [
        ("0", "background", "#000000", "0"),
        ("1", "ship", "#ff0000", "255"),
        ("2", "<plane> & co", "#0010ff", "255"),
        ("255", "no data", "#000000", "0"),
    ]
