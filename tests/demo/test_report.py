"""The page of the demo."""

from PIL import Image

from geomtp.demo.chapters import Chapter
from geomtp.demo.report import write_report
from geomtp.demo.stages import Stage


def test_all_that_is_shown_is_escaped_and_embedded(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    chapter = Chapter(
        text=("<script>1</script>",),
        command="geomtp labels <IMAGES> & more",
        heads=("<b>class", "IoU"),
        rows=(("<i>ship", 0.5),),
        pictures={"a.png": '"><img onerror=x>'},
        seconds=12.4,
        cpu_seconds=20.6,
    )
    stages = [Stage("one", "<One>", None), Stage("two", "Two", None)]
    page = write_report(tmp_path, stages, {"one": chapter}).read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "<img onerror" not in page
    assert "<h2>1. &lt;One&gt;</h2><p>&lt;script&gt;1&lt;/script&gt;</p>" in page
    assert '<td>&lt;i&gt;ship</td><td class="n">0.500</td>' in page
    assert "<pre>geomtp labels &lt;IMAGES&gt; &amp; more</pre>" in page
    assert "12 seconds, 21 of a processor" in page
    assert "<h2>2. Two</h2><p>Not done yet.</p>" in page
    assert page.count("data:image/jpeg;base64,/9j/") == 1
