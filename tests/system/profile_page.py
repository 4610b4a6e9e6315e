# SPDX-License-Identifier: BSD-3-Clause
"""profile_page.py DOM ROUNDS: the numbers of profile.sh's page, as a browser has taken it in."""
import sys
from html.parser import HTMLParser


class Page(HTMLParser):
    """Text by id; a table as rows of cells; attributes of the heat map's cells."""

    def __init__(self):
        super().__init__()
        self.text, self.open_ids, self.rows, self.heat, self.table = {}, [], {}, 0, None

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag in ("meta", "link", "br"):
            return
        self.open_ids.append((tag, attributes.get("id")))
        if tag == "table":
            self.table = attributes.get("id")
            self.rows[self.table] = []
        elif tag == "tr":
            self.rows[self.table].append([])
        elif tag in ("td", "th") and self.rows.get(self.table):
            self.rows[self.table][-1].append("")
        elif attributes.get("class") == "heat":
            self.heat += int(attributes["data-n"])

    def handle_endtag(self, tag):
        while self.open_ids and self.open_ids.pop()[0] != tag:
            pass
        if tag == "table":
            self.table = None

    def handle_data(self, data):
        for _, name in self.open_ids:
            if name:
                self.text[name] = self.text.get(name, "") + data
        if self.table is not None and self.rows[self.table] and self.rows[self.table][-1]:
            self.rows[self.table][-1][-1] += data


def main():
    page, rounds = Page(), int(sys.argv[2])
    with open(sys.argv[1], encoding="utf-8") as file:
        page.feed(file.read())
    failures = 0

    def expect(what, got, wanted):
        nonlocal failures
        if got != wanted:
            failures += 1
            print(f"{what}: {got!r}, wanted {wanted!r}")

    expect("ranks", page.text["ranks"], "3")
    expect("faults", page.text["faults"], str(4 * rounds))
    expect("read", page.text["faults-read"], str(rounds))
    expect("write", page.text["faults-write"], str(2 * rounds + 1))
    expect("upgrade", page.text["faults-upgrade"], str(rounds - 1))
    expect("heat map", page.heat, 4 * rounds)
    expect("from 0 to 1", page.text["traffic-1-0"], str(2 * rounds * 4))
    expect("from 1 to 1", page.text["traffic-1-1"], "0")
    units = {row[1].split(" + ")[0]: row for row in page.rows["units"][1:]}
    halves = units['<i>halves</i>&"']
    expect("halves: faults", halves[2], str(2 * rounds))
    expect("halves: bounces", halves[4], str(2 * rounds - 1))
    expect("halves: sharing", halves[5], "false sharing")
    expect("halves: code", "profile_job.c:" in halves[7], True)
    expect("word: sharing", units["word"][5], "true sharing")
    expect("pins of rank 1", page.text["pins-1"], str(rounds))
    expect("pins of rank 0", page.text["pins-0"], "0")
    waits = {row[0]: row for row in page.rows["waits"][1:]}
    expect("lock: waits", waits["lock word + 0x50"][1], str(2 * rounds))
    expect("lock: code", "profile_job.c:" in waits["lock word + 0x50"][4], True)
    expect("barriers: waits", waits["barriers of ranks"][1], str(3 * (5 * rounds + 1)))
    for row in page.rows["split"][1:]:
        total, parts = float(row[1]), sum(float(cell) for cell in row[2:8])
        expect(f"rank {row[0]}: parts make the total", abs(total - parts) <= 0.004, True)
    expect("rows of the split", len(page.rows["split"]), 4)
    sys.exit(failures != 0)


main()
