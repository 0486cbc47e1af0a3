"""How QGIS draws layers and class maps: style files (QML) with the colours of the classes."""

from __future__ import annotations

from xml.etree import ElementTree

from geomtp.types import IGNORE, ClassMap, Rgb

_HEAD = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_VERSION = "3.22"  # the first that reads the options of symbols in this form
_FILL_ALPHA = 64


def vector_style(class_map: ClassMap) -> str:
    """The style of a layer of polygons: by its column ``class``, filled lightly, outlined.

    QGIS looks for NAME.qml beside NAME.gpkg and NAME.tif alike, so it also holds ``raster_style``
    for a class map of the same name.
    """
    root = _root()
    renderer = ElementTree.SubElement(
        root, "renderer-v2", type="categorizedSymbol", attr="class", symbollevels="0"
    )
    categories = ElementTree.SubElement(renderer, "categories")
    symbols = ElementTree.SubElement(renderer, "symbols")
    for number, (name, colour) in enumerate(zip(class_map.names, class_map.palette, strict=True)):
        ElementTree.SubElement(
            categories,
            "category",
            {
                "type": "string",
                "value": name,
                "label": name,
                "symbol": str(number),
                "render": "true",
            },
        )
        symbols.append(_fill_symbol(str(number), colour))
    _add_palette(root, class_map)
    return _text(root)


def raster_style(class_map: ClassMap) -> str:
    """The style of a class map: k+1 in the colour of class k; 0 and 255 are transparent."""
    root = _root()
    _add_palette(root, class_map)
    return _text(root)


def _root() -> ElementTree.Element:
    return ElementTree.Element("qgis", version=_VERSION, styleCategories="Symbology")


def _add_palette(root: ElementTree.Element, class_map: ClassMap) -> None:
    pipe = ElementTree.SubElement(root, "pipe")
    renderer = ElementTree.SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1"
    )
    ElementTree.SubElement(renderer, "rasterTransparency")
    palette = ElementTree.SubElement(renderer, "colorPalette")
    entries = [(0, "background", (0, 0, 0), 0), (IGNORE, "no data", (0, 0, 0), 0)]
    classes = zip(class_map.names, class_map.palette, strict=True)
    entries[1:1] = [(k + 1, name, colour, 255) for k, (name, colour) in enumerate(classes)]
    for value, label, colour, alpha in entries:
        ElementTree.SubElement(
            palette,
            "paletteEntry",
            value=str(value),
            label=label,
            color="#{:02x}{:02x}{:02x}".format(*colour),
            alpha=str(alpha),
        )


def _fill_symbol(name: str, colour: Rgb) -> ElementTree.Element:
    symbol = ElementTree.Element("symbol", type="fill", name=name, alpha="1", force_rhr="0")
    layer = ElementTree.SubElement(
        symbol, "layer", {"class": "SimpleFill", "enabled": "1", "locked": "0", "pass": "0"}
    )
    options = ElementTree.SubElement(layer, "Option", type="Map")
    rgb = ",".join(str(part) for part in colour)
    for key, value in {
        "color": f"{rgb},{_FILL_ALPHA}",
        "style": "solid",
        "outline_color": f"{rgb},255",
        "outline_style": "solid",
        "outline_width": "0.5",
        "outline_width_unit": "MM",
        "joinstyle": "miter",
    }.items():
        ElementTree.SubElement(options, "Option", type="QString", name=key, value=value)
    return symbol


def _text(root: ElementTree.Element) -> str:
    ElementTree.indent(root, " ")
    return _HEAD + ElementTree.tostring(root, encoding="unicode") + "\n"
