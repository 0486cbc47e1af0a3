import json
from collections import Counter

from geomtp.labels import ReadNotes


def test_notes_of_parts_add_up_to_those_of_the_whole():
    parts, whole = [ReadNotes() for _ in range(3)], ReadNotes()
    for i in range(12):
        reason = ("degenerate", "outside", "damaged image")[i % 3]
        for notes in (parts[i // 4], whole):
            notes.left_out(reason, f"{i}.png", "why")
    joined = ReadNotes()
    for part in parts:
        joined.add_content(json.loads(json.dumps(part.content())))
    have, want = (notes.report(5, 1, Counter(a=2)) for notes in (joined, whole))
    assert have == want
    assert joined.damaged == whole.damaged == [(f"{i}.png", "why") for i in (2, 5, 8, 11)]
    assert len(have.examples) == 9  # three of each reason
