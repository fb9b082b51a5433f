"""The report, as a reader meets it: in headless Chromium, on the committed digits results and on nothing at all."""

import base64
import gzip
import html
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from playwright.sync_api import Browser, Locator, Page, sync_playwright
from typer.testing import CliRunner

from eps_resnet.cli import app
from eps_resnet.evidence import figures
from eps_resnet.evidence.claims import claims
from eps_resnet.evidence.compare import beside, compare
from eps_resnet.evidence.figures import drawing
from eps_resnet.evidence.figures.results import ARM
from eps_resnet.evidence.report import charts, markdown, numbers, render, report_path, write_report
from eps_resnet.evidence.report.answer import answer
from eps_resnet.evidence.report.drawings import drawings
from eps_resnet.evidence.report.lead import lead
from eps_resnet.experiments import registry
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import SEAL, write_sealed
from eps_resnet.provenance import state
from tests.conftest import PROJECT, small_registry

pytestmark = pytest.mark.slow  # starts real processes, for seconds each

CHROMIUM = Path("/usr/bin/chromium")
RUN, DRAWN = "digits-110-epsilon_side-2p5-s0", "figure6-digits"
HOSTILE = "<script>document.title = 'taken over'</script><b onclick=alert(1)>&amp;"


def committed_results(experiments: Registry, root: Path) -> Layout:
    """The committed digits results below a root of their own, marked as made from the present code."""
    layout = Layout(root)
    shutil.copytree(PROJECT / "results", root / "results", ignore=shutil.ignore_patterns("*.safetensors"))
    layout.data_manifest("digits").parent.mkdir()
    shutil.copy(PROJECT / "data/digits.json", layout.data_manifest("digits"))
    return layout


def addresses(report: Path) -> list[str]:
    """The images of a report, as their addresses have them."""
    return re.findall(r'src="data:image/svg\+xml,([^"]*)"', report.read_text())


def change(path: Path, **values: object) -> None:
    """Other values in a sealed document, sealed anew."""
    document = {**json.loads(path.read_text()), **values}
    document.pop(SEAL, None)
    write_sealed(path, document)


@pytest.fixture(scope="module")
def done(experiments: Registry, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A root with the digits results, one drawn figure and the report."""
    layout = committed_results(experiments, tmp_path_factory.mktemp("done"))
    figures.write_table(experiments, layout, DRAWN)
    figures.write_drawing(experiments, layout, DRAWN)
    write_report(experiments, layout)
    return layout


@pytest.fixture(scope="module")
def empty(experiments: Registry, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A root in which nothing has run, and its report."""
    layout = Layout(tmp_path_factory.mktemp("empty"))
    write_report(experiments, layout)
    return layout


@pytest.fixture(params=["done", "empty"])
def report(request: pytest.FixtureRequest) -> Path:
    """Either report."""
    return report_path(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing: the report is tested in Debian's chromium (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that reaches files only. `page.noticed`: other requests, errors and messages on the console."""
    page = browser.new_page()
    page.noticed = []  # type: ignore[attr-defined]
    notice = page.noticed.append  # type: ignore[attr-defined]
    page.on("request", lambda request: None if request.url.startswith("file:") else notice(request.url))
    page.on("console", lambda message: notice(message.text))
    page.on("pageerror", lambda error: notice(str(error)))
    page.route(lambda url: not url.startswith("file:"), lambda route: route.abort())
    yield page
    page.close()


def column(page: Page, heading: str, table: str = "waiting-table") -> list[str]:
    """What a column of a table of numbers shows, in the order shown: what it sorts by, or its text."""
    return page.evaluate(  # type: ignore[no-any-return]
        """([heading, id]) => {
            const table = document.getElementById(id);
            const cell = [...table.tHead.rows[0].cells].find(cell => cell.textContent.startsWith(heading));
            return [...table.tBodies[0].rows].filter(row => !row.hidden)
                .map(row => row.cells[cell.cellIndex]).map(cell => cell.dataset.value ?? cell.textContent.trim());
        }""",
        [heading, table],
    )


def shown(page: Page, heading: str) -> list[str]:
    """A column of both tables of numbers."""
    return column(page, heading, "verdict-table") + column(page, heading)


def direction(page: Page, heading: str) -> str | None:
    """How the table of numbers that wait for their runs says that a column is sorted."""
    return page.locator("#waiting-table th", has_text=heading).get_attribute("aria-sort")


def button(page: Page, heading: str) -> Locator:
    """What sorts that table by a column."""
    return page.locator("#waiting-table").get_by_role("button", name=heading)


def waiting(page: Page, report: Path) -> None:
    """Opens the report and, in it, the numbers that wait for their runs."""
    page.goto(report.as_uri())
    page.locator("#waiting-numbers > summary").click()


def words_of(report: Path) -> str:
    """All words of a report, without its script, style and images."""
    page = re.sub(r"<(script|style)\b.*?</\1>", "", report.read_text(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", page)))


def cards_of(report: Path) -> dict[str, Any]:
    """What the page's script makes cards of."""
    found = re.search(r'<script type="application/gzip" id="cards">(.*?)</script>', report.read_text())
    assert found
    return json.loads(gzip.decompress(base64.b64decode(found[1])))  # type: ignore[no-any-return]


def test_the_answer_comes_first_with_its_counts_its_day_and_its_commit(experiments: Registry, done: Layout) -> None:
    comparisons = compare(experiments, done)
    found = Counter(comparison.verdict for comparison in comparisons)
    exact = sum(c.verdict == "reproduced" and c.n_seeds == 0 for c in comparisons)
    text = words_of(report_path(done))
    if names := {claim.dataset for claim in claims(experiments, done) if claim.verdict != "not run"}:
        for name in names:
            ways: dict[int, set[str]] = {}
            for claim in claims(experiments, done):
                if claim.dataset == name:
                    ways.setdefault(claim.number, set()).add(claim.verdict)
            supported = sum(verdicts == {"supported"} for verdicts in ways.values())
            unrun = sum(verdicts == {"not run"} for verdicts in ways.values())
            title = experiments.datasets[name].title
            assert f"Of {len(ways)} claims, runs on {title} support {supported}, contradict " in text
            assert f" undecided ({unrun} not run)." in text
        ready = [key for key in experiments.runs if state.state(experiments.experiment(key, done)) == "done"]
        day = max(read_json(done.run(key).manifest)["finished"] for key in ready)[:10]
        assert f"As of {day}, by the code of commit" in text
    else:
        assert "Nothing has been trained here yet" in text
    assert (
        f"Of {len(comparisons)} published numbers, {found['reproduced'] - exact} are reproduced by training and "
        f"{exact} by counting parameters (weak evidence), {found['not run']} have not been run, and "
        f"{found['not comparable']} cannot be compared. 22 of 28 checks find that the paper's numbers disagree, with "
        "one another or with the authors' code."
    ) in text


def test_a_claim_judged_differently_against_different_baselines_is_not_hidden_among_the_undecided(
    experiments: Registry, empty: Layout
) -> None:
    one = next(claim for claim in claims(experiments, empty) if (claim.dataset, claim.number) == ("digits", 1))
    for verdicts, said in (
        (("supported", "contradicted", "not run"), "support 0, contradict 0, judge 1 differently against different"),
        (("supported", "supported"), "support 1, contradict 0 and leave 0 undecided (0 not run)"),
        (("contradicted", "not run"), "support 0, contradict 0 and leave 1 undecided (0 not run)"),
    ):
        found = [replace(one, verdict=verdict) for verdict in verdicts]
        assert said in answer(experiments, empty, {}, found, [], []).sentences[0]


def test_the_data_set_nearest_to_the_papers_leads_as_soon_as_a_claim_about_it_has_a_verdict(
    experiments: Registry,
) -> None:
    figures, judged = drawings(experiments, Layout()), claims(experiments, Layout())
    first = lead(experiments, Layout(), figures, judged)
    assert first is not None
    assert first.drawing.name == "figure6-cifar10-cpu"
    undecided = [replace(c, verdict="undecided") if c.dataset == "cifar10-cpu" else c for c in judged]
    other = lead(experiments, Layout(), figures, undecided)
    assert other is not None
    assert other.drawing.name == "figure6-digits"
    assert lead(experiments, Layout(), {"6": []}, judged) is None


@pytest.mark.parametrize("dataset", ["digits", "cifar10-cpu"])
def test_the_first_table_has_the_means_of_figure_6_and_claim_1_against_each_baseline(
    experiments: Registry, dataset: str
) -> None:
    figures, judged = drawings(experiments, Layout()), claims(experiments, Layout())
    figures = {"6": [drawing for drawing in figures["6"] if drawing.name == f"figure6-{dataset}"]}
    first = lead(experiments, Layout(), figures, judged)
    assert first is not None
    rows = pd.read_csv(PROJECT / f"paper_tables/figure6-{dataset}/table.csv")
    means = {f"{mean:.2%}" for _, mean in rows.groupby(ARM, dropna=False)["error_pruned"].mean().items()}
    errors = [cell.value for row in first.rows if "discarded" not in row.network for cell in row.cells]
    assert set(errors) <= means | {"not run"}
    runs = [claim for claim in judged if (claim.dataset, claim.number) == (dataset, 1) and claim.runs]
    assert [row.claim for row in first.rows[2:]] == runs
    for row in first.rows[2:]:
        assert row.claim is not None
        assert all(part in row.claim.evidence for part in row.why)
        assert ("not run" in row.claim.evidence) == any("not run" in part for part in row.why)
        assert all(f"against {cell.value} " in row.claim.evidence for cell in row.cells if cell.detail)


def test_every_number_is_in_one_of_two_tables(experiments: Registry, report: Path) -> None:
    page = report.read_text()
    tables = dict(re.findall(r'<table class="sortable filtered" id="([\w-]+)">(.*?)</table>', page, re.DOTALL))
    counts = {name: table.count("<tr data-figure=") for name, table in tables.items()}
    assert sum(counts.values()) == 257
    assert f"{counts['waiting-table']} numbers that have not been run" in words_of(report)
    assert "not run" not in tables["verdict-table"]


def test_published_errors_are_counts_of_images_as_the_paper_has_them(report: Path) -> None:
    assert "5.24% 524 of 10,000" in words_of(report)


def test_no_words_of_a_programming_language_are_in_the_page_and_the_documents(report: Path) -> None:
    for text in (words_of(report), json.dumps(cards_of(report))):
        assert re.findall(r"\bNone\b|\bTrue\b|\bFalse\b|\{\'|\bnan\b", text) == []


def test_the_page_is_small(report: Path) -> None:
    assert report.stat().st_size < 1_500_000


def test_every_document_is_a_page_of_its_own_that_the_report_links_to(report: Path) -> None:
    names = {path.stem for path in (PROJECT / "docs").glob("*.md")}
    assert {path.stem for path in (report.parent / "docs").iterdir()} == names
    assert all(f'href="docs/{name}.html"' in report.read_text() for name in names)


def test_drawings_have_colours_of_their_own_in_the_dark(done: Layout) -> None:
    panels = [unquote(found) for found in dict.fromkeys(addresses(report_path(done)))]
    assert len(panels) == 2
    for text in panels:
        root = ElementTree.fromstring(text)
        texts = {"".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")}
        assert "depth (layers)" in texts
        assert "@media (prefers-color-scheme:dark)" in text
        assert not re.search(r' style="', text)
    assert sum(map(len, panels)) < 0.7 * (done.tables(DRAWN) / "figure.svg").stat().st_size


@pytest.mark.parametrize(("width", "columns"), [(1280, 2), (390, 1)])
def test_panels_stand_side_by_side_and_on_a_phone_one_below_the_other(
    done: Layout, page: Page, width: int, columns: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(report_path(done).as_uri())
    boxes = page.eval_on_selector_all(
        f"#{DRAWN} .panels img",
        "all => all.map(image => image.getBoundingClientRect()).map(b => [b.left, b.right, b.top])",
    )
    assert len(boxes) == 2
    assert all(0 <= left < right <= width for left, right, _ in boxes)
    assert len({top for _, _, top in boxes}) == 2 // columns


def test_every_panel_and_every_entry_of_a_legend_is_shown_whole(experiments: Registry, tmp_path: Path) -> None:
    """As an image of its own, which names no part that it lacks."""
    layout = Layout(tmp_path)
    for name in ("figure6-imagenet", "figure10-cifar10"):
        figures.write_figure(experiments, layout, name)
    found = [unquote(address) for address in addresses(write_report(experiments, layout))]
    words = [re.findall(r">([^<>]+)</text>", text) for text in found]
    assert ["paper: standard"] in words
    assert ["paper: ε-ResNet + side head"] in words
    assert {word for w in words for word in w} >= {"stage 1", "stage 2", "stage 3", "top-1 error, pruned (%)"}
    for text in found:
        ids = set(re.findall(r' id="([^"]+)"', text))
        assert set(re.findall(r"#([\w-]+)[\")]", text)) - {""} <= ids


def test_a_gated_runs_card_has_the_life_of_its_gates(done: Layout, experiments: Registry) -> None:
    cards = cards_of(report_path(done))["runs"]
    if not cards:
        pytest.skip("the committed results were made by other code, so that no run is done")
    for key, card in cards.items():
        assert ("life" in card) == (experiments.runs[key].method == "epsilon_side")
    life, metrics = cards[RUN]["life"], read_json(done.run(RUN).metrics)
    closed = [index for index, row in enumerate(life["gates"]) if row.endswith("#")]
    epochs = life["epochs"] if isinstance(life["epochs"], int) else len(life["epochs"])
    assert {sum(map(int, re.findall(r"\d+", row))) for row in life["gates"]} == {epochs}
    assert len(life["gates"]) == sum(metrics["blocks"])
    assert life["reported"] == metrics["epoch"]
    if metrics["epoch"] == epochs:
        assert closed == metrics["discarded_blocks"]


def test_a_click_sorts_numbers_by_value_and_the_next_click_turns_them_round(empty: Layout, page: Page) -> None:
    waiting(page, report_path(empty))
    before = [float(value) for value in column(page, "published")]
    published = button(page, "published")
    published.click()
    assert [float(value) for value in column(page, "published")] == sorted(before) != before
    assert direction(page, "published") == "ascending"
    published.click()
    assert [float(value) for value in column(page, "published")] == sorted(before, reverse=True)
    assert direction(page, "published") == "descending"
    button(page, "depth").click()
    assert (direction(page, "published"), direction(page, "depth")) == (None, "ascending")


def test_the_keyboard_sorts_too_with_empty_cells_last_in_either_direction(empty: Layout, page: Page) -> None:
    waiting(page, report_path(empty))
    button(page, "depth").focus()
    page.keyboard.press("Tab")  # to the next heading, epsilon
    for key in ("Enter", "Space"):
        page.keyboard.press(key)
        values = column(page, "ε")
        filled = [float(value) for value in values if value]
        assert 0 < len(filled) < len(values)
        assert values[len(filled) :] == [""] * (len(values) - len(filled))
        assert filled == sorted(filled, reverse=key == "Space")


def test_words_with_numbers_sort_by_the_number(empty: Layout, page: Page) -> None:
    waiting(page, report_path(empty))
    button(page, "quantity").click()
    epochs = [int(text.rsplit(" ", 1)[1]) for text in column(page, "quantity") if text.startswith("blocks discarded, ")]
    assert len(epochs) > 50
    assert epochs == sorted(epochs)


def test_the_filters_leave_what_fits_all_of_them(experiments: Registry, empty: Layout, page: Page) -> None:
    rows = compare(experiments, empty)
    page.goto(report_path(empty).as_uri())
    filters = page.locator("#filters")
    filters.get_by_label("Figure").select_option("9")
    assert len(shown(page, "figure")) == sum(row.figure == "9" for row in rows)
    filters.get_by_label("Data set").select_option("CIFAR-100")
    fitting = [row for row in rows if (row.figure, row.dataset) == ("9", "cifar100")]
    assert 0 < len(shown(page, "figure")) == len(fitting) < len(rows)
    assert set(shown(page, "data set")) == {"CIFAR-100"}
    assert page.inner_text("#shown") == f"{len(fitting)} of {len(rows)} numbers shown"
    filters.get_by_label("Text").fill("no such words")
    assert shown(page, "figure") == []
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function(f"document.getElementById('shown').textContent.startsWith('{len(rows)} of')")
    assert len(shown(page, "figure")) == len(rows)


def test_without_its_script_the_page_shows_every_number_and_no_filters(empty: Layout, browser: Browser) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(report_path(empty).as_uri())
    page.locator("#waiting-numbers > summary").click()
    assert page.locator("table.filtered tbody tr:visible").count() == 257
    assert page.locator("#run-table tbody tr:visible").count() > 100
    assert not page.locator("#filters").is_visible()
    page.close()


def test_every_link_leads_somewhere(report: Path, page: Page) -> None:
    page.goto(report.as_uri())
    links = page.eval_on_selector_all("a[href]", "links => links.map(link => link.getAttribute('href'))")
    ids = page.eval_on_selector_all("[id]", "elements => elements.map(element => element.id)")
    assert len(ids) == len(set(ids))
    assert len(links) > 300
    for link in links:
        if link.startswith("#"):
            assert link[1:] in ids
        else:
            assert (report.parent / unquote(link)).is_file()


def test_every_number_of_a_planned_network_links_to_its_runs(experiments: Registry, empty: Layout) -> None:
    page = report_path(empty).read_text()
    planned = 0
    for comparison in compare(experiments, empty):
        network = (comparison.dataset, comparison.depth, comparison.method, comparison.epsilon)
        for key, run in experiments.runs.items():
            if (run.dataset, run.depth, run.method, run.epsilon) == network and run.weight_decay is None:
                planned += 1
                assert f'<a href="#run-{key}"' in page
    assert planned > 200


def test_a_row_opens_its_card_by_mouse_keyboard_and_link(done: Layout, page: Page) -> None:
    if RUN not in cards_of(report_path(done))["runs"]:
        pytest.skip("the committed results were made by other code, so that no run is done")
    page.goto(f"{report_path(done).as_uri()}#run-{RUN}")
    manifest = json.loads(done.run(RUN).manifest.read_text())
    card = page.locator(f"#run-{RUN} + tr.opened")
    for fact in (
        manifest["fingerprint"],
        manifest["finished"],
        manifest.get("git_commit") or "not recorded",
        numbers.duration(manifest["seconds"]["training"]),
        f"eps-resnet train {RUN}",
    ):
        assert fact in card.inner_text()
    card.get_by_text("Configuration", exact=True).click()
    assert str(manifest["made_from"]["recipe"]["weight_decay"]) in card.inner_text()
    name = page.locator(f"#run-{RUN} button")
    name.focus()
    page.keyboard.press("Enter")
    assert card.count() == 0
    name.click()
    assert card.count() == 1
    assert name.get_attribute("aria-expanded") == "true"


def test_the_pointer_and_the_arrow_keys_name_block_and_epoch(done: Layout, page: Page) -> None:
    if RUN not in cards_of(report_path(done))["runs"]:
        pytest.skip("the committed results were made by other code, so that no run is done")
    page.goto(f"{report_path(done).as_uri()}#run-{RUN}")
    canvas, said = page.locator(".life canvas"), page.locator(".life output")
    canvas.hover(position={"x": 1, "y": 1})
    assert said.inner_text().startswith("block 1 (stage 1), epoch 1: ")
    canvas.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert said.inner_text().startswith("block 2 (stage 1), epoch 2: ")


def test_a_smaller_version_has_a_section_with_each_difference_its_reason_and_the_papers_numbers(
    experiments: Registry, report: Path, page: Page
) -> None:
    page.goto(report.as_uri())
    page.get_by_role("navigation").get_by_role("link", name="CIFAR-10 on a CPU").click()
    section = page.locator(":target")
    text = section.inner_text()
    for reason in experiments.datasets["cifar10-cpu"].reduced.values():
        assert reason in text
    numbers_of_both = [row for row in beside(experiments, Layout(report.parent.parent)) if row.dataset == "cifar10-cpu"]
    assert section.locator("tbody tr").count() == len(numbers_of_both) > 0


def test_nothing_is_requested_and_nothing_complained_of(report: Path, page: Page) -> None:
    page.goto(report.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
    for button in page.locator("table.sortable th button").all():
        button.click()
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_load_state("networkidle")
    pictures = page.eval_on_selector_all(
        "img", "all => all.map(image => image.decode().then(() => image.naturalWidth))"
    )
    assert page.noticed == []  # type: ignore[attr-defined]
    assert len(pictures) == page.locator("img").count()


def test_the_drawing_is_shown(done: Layout, page: Page) -> None:
    page.goto(report_path(done).as_uri())
    image = page.locator(f"#{DRAWN} img").first
    image.scroll_into_view_if_needed()
    assert image.evaluate("async image => { await image.decode(); return image.naturalWidth; }") > 300


def test_the_page_cannot_ask_the_network_even_if_it_tried(empty: Layout, page: Page) -> None:
    page.goto(report_path(empty).as_uri())
    refused = "address => fetch(address).then(() => 'answered', error => error.name)"
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    assert page.evaluate(refused, "https://example.org/") == "TypeError"
    assert requests == []  # the policy in the page's head stops it before it is sent


@pytest.mark.parametrize("width", [320, 390])
def test_on_a_phone_tables_scroll_and_the_page_does_not(report: Path, page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(report.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    region = page.get_by_role("region", name="Published numbers with a verdict").last
    assert region.evaluate("element => element.scrollWidth > element.clientWidth && element.tabIndex === 0")


def test_on_a_phone_no_document_is_wider_than_the_screen(done: Layout, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    for document in (report_path(done).parent / "docs").iterdir():
        page.goto(document.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, document.name


CONTRASTS = """() => {
    const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
    const light = colour => numbers(colour).slice(0, 3).map(part => part / 255)
        .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = element => {
        const colour = getComputedStyle(element).backgroundColor;
        return (numbers(colour)[3] ?? 1) > 0 ? colour : ground(element.parentElement);
    };
    const hasText = element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    return [...document.querySelectorAll("body *:not(script, svg *)")].filter(hasText).map(element => {
        const [a, b] = [light(getComputedStyle(element).color), light(ground(element))];
        return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), element.tagName + "." + element.className];
    });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_the_contrast_of_wcag_aa(done: Layout, page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(report_path(done).as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
    words = ["reproduced", "close", "off", "not-run", "not-comparable", "undecided", "supported", "contradicted"]
    page.evaluate(
        "names => document.querySelectorAll('.pill').forEach((p, i) => p.className = `pill ${names[i % 8]}`)", words
    )
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 2000
    assert min(contrasts)[0] >= 4.5, min(contrasts)


def test_a_dark_desktop_gets_a_dark_page(empty: Layout, page: Page) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.goto(report_path(empty).as_uri())
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        grounds[scheme] = max(colour)
    assert grounds["dark"] < 60 < 200 < grounds["light"]


def test_text_from_results_and_registry_is_shown_not_run(experiments: Registry, tmp_path: Path, page: Page) -> None:
    layout = committed_results(experiments, tmp_path)
    digits = experiments.datasets["digits"].model_copy(update={"title": HOSTILE, "remark": HOSTILE})
    hostile = experiments.model_copy(update={"datasets": {**experiments.datasets, "digits": digits}})
    machine = json.loads(layout.run(RUN).manifest.read_text())["machine"]
    change(layout.run(RUN).manifest, machine={**machine, "processor": HOSTILE, HOSTILE: 1})
    figures.write_table(hostile, layout, DRAWN)
    (layout.tables(DRAWN) / "figure.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">{HOSTILE}<image href="https://example.org/"/></svg>'
    )
    page.goto(write_report(hostile, layout).as_uri())
    page.locator(f"#{DRAWN} img").scroll_into_view_if_needed()
    assert page.locator("script:not([type])").count() == 1
    assert page.locator("b, [onclick]").count() == 0
    assert page.title().startswith("eps-resnet")
    assert page.locator(f"#{DRAWN} h4").inner_text() == HOSTILE
    assert page.locator(f"#{DRAWN} .note ul").text_content().count("<script>") == 1
    assert page.noticed == []  # type: ignore[attr-defined]


def test_equal_results_give_equal_bytes(experiments: Registry, done: Layout) -> None:
    first = report_path(done).read_bytes()
    write_report(experiments, done)
    assert report_path(done).read_bytes() == first


def test_a_changed_result_changes_the_page(experiments: Registry, tmp_path: Path) -> None:
    layout = committed_results(experiments, tmp_path)
    before = render(experiments, layout)
    error = json.loads(layout.run(RUN).metrics.read_text())["error"]
    change(layout.run(RUN).metrics, error={**error, "pruned": 0.123456, "gated": 0.123456})
    assert "12.35%" not in before
    assert "12.35%" in render(experiments, layout)


def test_a_stale_run_shows_no_numbers(experiments: Registry, tmp_path: Path, page: Page) -> None:
    layout = committed_results(experiments, tmp_path)
    change(layout.run(RUN).manifest, fingerprint="0" * 16)
    page.goto(write_report(experiments, layout).as_uri())
    run = page.locator(f"#run-{RUN}")
    assert run.locator("button").count() == 0
    assert "stale" in run.inner_text()
    assert "%" not in run.inner_text()


def test_a_drawing_says_when_it_is_older_than_the_results(experiments: Registry, done: Layout, tmp_path: Path) -> None:
    assert "Older than the present results" not in report_path(done).read_text()
    shutil.copytree(done.root, tmp_path, dirs_exist_ok=True)
    layout = Layout(tmp_path)
    layout.run(RUN).metrics.write_text(layout.run(RUN).metrics.read_text() + "\n")
    assert render(experiments, layout).count("Older than the present results") == 1


def test_a_figure_that_is_not_there_says_so_with_its_command(empty: Layout, page: Page, experiments: Registry) -> None:
    page.goto(report_path(empty).as_uri())
    for name in experiments.figures:
        text = page.locator(f"#{name}").inner_text()
        assert f"snakemake --cores 2 {name}" in text


def test_a_registry_without_the_papers_data_sets_has_a_report(tmp_path: Path) -> None:
    small = registry.load(small_registry(tmp_path / "experiments.yaml"))
    assert render(small, Layout(tmp_path)).count("<tr data-figure=") == 257


def test_the_command_writes_the_page_and_names_it(empty: Layout, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", "--root", str(tmp_path)], catch_exceptions=False)
    assert result.stdout == ""
    assert result.stderr.strip() == str(tmp_path / "paper_tables/index.html")
    assert (tmp_path / "paper_tables/index.html").read_bytes() == report_path(empty).read_bytes()


@given(st.integers(1, 1000), st.randoms(use_true_random=False))
def test_thinned_lines_keep_their_ends_and_extremes(length: int, random: Random) -> None:
    values = [random.random() for _ in range(length)]
    kept = charts.thin(values)
    assert kept == sorted(set(kept))
    assert {0, len(values) - 1} <= set(kept) <= set(range(len(values)))
    assert len(kept) <= 2 * charts.BUCKETS + 2
    assert {min(values), max(values)} <= {values[i] for i in kept}


@given(st.lists(st.sampled_from([0.1, 0.01, 0.001, 2e-4]), min_size=1, max_size=60), st.integers(0, 59))
def test_lines_stay_inside_their_chart(rates: list[float], settled: int) -> None:
    epochs = len(rates)
    history = pd.DataFrame({"epoch": range(1, epochs + 1), "rate": rates, "discarded": 3})
    history = history.assign(train_error=0.0, test_error=[1 / n for n in range(1, epochs + 1)])
    for chart in charts.charts(history, 9, 1 + settled % epochs):
        for _, points in chart.lines:
            places = [tuple(map(float, point.split(","))) for point in points.split()]
            assert all(charts.LEFT <= x <= charts.RIGHT and charts.TOP <= y <= charts.BOTTOM for x, y in places)
        assert charts.LEFT <= chart.marked <= charts.RIGHT


def test_the_charts_of_long_trainings_take_little_of_the_page() -> None:
    epochs = pd.RangeIndex(1, 1001)
    noise = [((n * 7919) % 1000) / 1000 for n in epochs]
    history = pd.DataFrame({"epoch": epochs, "rate": 0.1, "discarded": 3, "train_error": noise, "test_error": noise})
    size = sum(len(points) for chart in charts.charts(history, 9, 900) for _, points in chart.lines)
    assert 61 * size < 1_000_000


@given(st.floats(1e-4, 1), st.floats(1e-6, 0.1))
def test_a_published_number_is_shown_to_within_its_uncertainty(value: float, uncertainty: float) -> None:
    shown, doubt = numbers.published(value, uncertainty, "fraction").removesuffix("%").split(" ± ")
    assert abs(float(shown) - 100 * value) <= 100 * uncertainty
    assert 0.5 <= float(doubt) / (100 * uncertainty) <= 1.5


@pytest.mark.parametrize(
    ("seconds", "words"), [(59.6, "1 min 0 s"), (12.2, "12 s"), (74.1, "1 min 14 s"), (12_030, "3 h 20 min")]
)
def test_durations_are_in_words(seconds: float, words: str) -> None:
    assert numbers.duration(seconds) == words


@given(st.text())
def test_no_markdown_brings_its_own_html(text: str) -> None:
    html = markdown.render_document(f"# Title\n\n| a |\n| --- |\n| x |\n\n<script>{text}</script>\n\n<img src=x>")
    assert "<script" not in html
    assert "<img src=x" not in html


def test_links_of_a_document_lead_to_other_documents_and_else_become_text() -> None:
    text = "see [cost](cost.md), [code](../eps_resnet/x.md), [site](https://example.org/) and <https://example.org/>"
    assert "<a" not in markdown.render_document(text)
    html = markdown.render_document(text, ["cost"])
    assert re.findall(r"<a[^>]*>", html) == ['<a href="cost.html">']
    assert 'see <a href="cost.html">cost</a>, code, site and' in html


# What would run, lead or load something where a page, a table or a drawing took it for more than text.
MALICE = {
    "HTML": "<script>document.title = 'taken over'</script></style></title>\"'><img src=x onerror=\"alert(1)\">"
    "<svg onload=alert(1)><a href='javascript:alert(1)'>a</a> &lt;b&gt;",
    "Markdown": r"[a](javascript:alert(1)) <javascript:alert(1)> ![b](https://example.org/b.png) [c]: http://a.org "
    r"\<b> \| x | *d* {{ 7 * 7 }} {% raw %} %s {run}",
    "formula": r"$x^{ $\frac{ costs $5 and 5$ \$",
}


class Tags(HTMLParser):
    """The tags of a page with the names of their attributes, and where it leads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *sorted(name for name, _ in attributes)))
        self.addresses += [value or "" for name, value in attributes if name in ("href", "src", "action", "srcset")]


def report_with(text: str, experiments: Registry, layout: Layout) -> Path:
    """The report with one text in the place of every free text of registry, results and origin of the data."""
    digits = experiments.datasets["digits"]
    archives = tuple(archive.model_copy(update={"name": text, "differs": text}) for archive in digits.archives)
    digits = digits.model_copy(update={"title": text, "remark": text, "archives": archives})
    hostile = experiments.model_copy(update={"datasets": {**experiments.datasets, "digits": digits}})
    machine = {text: text, "torch": text, "device": "cpu"}  # what made_from says is shown where it is true alone
    change(
        layout.run(RUN).manifest,
        git_commit=text, finished=text, model_sha256=text, machine=machine, seconds={text: 1.5},
    )  # fmt: skip
    change(layout.run(RUN).metrics, model_sha256=text, pruned_sha256=text, data_differs=text, **{text: [text]})
    origin = json.loads(layout.data_manifest("digits").read_text())
    layout.data_manifest("digits").write_text(json.dumps({**origin, "copy": text, "differs": text}))
    figures.write_table(hostile, layout, DRAWN)
    figures.write_drawing(hostile, layout, DRAWN)
    return write_report(hostile, layout)


@pytest.fixture(scope="module")
def expected_tags(experiments: Registry, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, ...]]:
    """Those of the report whose free texts are harmless."""
    layout = committed_results(experiments, tmp_path_factory.mktemp("harmless"))
    return Tags(report_with("harmless", experiments, layout).read_text()).tags


@pytest.mark.parametrize("kind", MALICE)
def test_no_text_of_registry_results_or_data_becomes_more_than_text(
    experiments: Registry, tmp_path: Path, page: Page, expected_tags: list[tuple[str, ...]], kind: str
) -> None:
    layout = committed_results(experiments, tmp_path)
    report = report_with(MALICE[kind], experiments, layout)
    found = Tags(report.read_text())
    assert found.tags == expected_tags
    assert not any(name.startswith("on") for _, *names in found.tags for name in names)
    assert [a for a in found.addresses if ":" in a and not a.startswith("data:")] == []

    page.goto(report.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
    figure, run = page.locator(f"#{DRAWN}"), page.locator(f"#run-{RUN}")
    figure.locator("img").first.scroll_into_view_if_needed()
    decoded = "async image => { await image.decode(); return image.naturalWidth; }"
    assert figure.locator("img").first.evaluate(decoded) > 300
    assert figure.locator("h4").text_content() == MALICE[kind]
    assert f"Trained on an altered copy of {MALICE[kind]}: {MALICE[kind]}." in (figure.text_content() or "")
    assert MALICE[kind] in (run.text_content() or "")
    page.evaluate('key => document.querySelector(`[data-key="${key}"]`).click()', RUN)
    assert page.title() == "eps-resnet: the state of the reproduction"
    assert page.noticed == []  # type: ignore[attr-defined]

    texts = ElementTree.parse(layout.tables(DRAWN) / "figure.svg").iter("{http://www.w3.org/2000/svg}text")
    shown = "".join("".join(text.itertext()) for text in texts)  # a long title has several lines
    assert re.sub(r"\s", "", MALICE[kind]) in re.sub(r"\s", "", shown)
    table = MarkdownIt("commonmark").enable("table").parse((layout.tables(DRAWN) / "table.md").read_text())
    assert {token.type for token in within(table)} <= TABLE_TOKENS


TABLE_TOKENS = {
    *("heading_open", "heading_close", "bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close"),
    *("table_open", "table_close", "thead_open", "thead_close", "tbody_open", "tbody_close", "tr_open", "tr_close"),
    *("th_open", "th_close", "td_open", "td_close", "paragraph_open", "paragraph_close", "inline", "text"),
    *("code_inline", "strong_open", "strong_close", "em_open", "em_close"),
}


def within(tokens: list[Token]) -> Iterator[Token]:
    """The tokens and those inside of them."""
    for token in tokens:
        yield token
        yield from within(token.children or [])


def test_control_characters_in_a_drawings_words_leave_its_svg_readable(tmp_path: Path) -> None:
    canvas, _ = drawing.canvas(1)
    drawing.head(canvas, "title \x1b[31m \x08")
    drawing.save(tmp_path, canvas)
    words = "".join(ElementTree.parse(tmp_path / "figure.svg").getroot().itertext())
    assert "title  [31m" in words


@example("a\nb | c\x1b[31m")
@given(st.text(max_size=40))
def test_any_text_in_a_table_stays_in_its_cell_and_is_no_html_and_no_link(text: str) -> None:
    with TemporaryDirectory() as folder:
        rows = pd.DataFrame({"a": [1, 2]})
        readable = pd.DataFrame([[text, "y"], ["x", text]], columns=["a", text])
        drawing.write_table(Path(folder), text, rows, [readable], [text, text])
        tokens = MarkdownIt("commonmark").enable("table").parse((Path(folder) / "table.md").read_text())
    types = Counter(token.type for token in within(tokens))
    assert set(types) <= TABLE_TOKENS
    assert (types["heading_open"], types["th_open"], types["td_open"], types["list_item_open"]) == (1, 2, 4, 2)


def test_pictures_of_a_document_become_text() -> None:
    html = markdown.render_document("see ![a picture](https://example.org/x.png) and ![b][c]\n\n[c]: x.png")
    assert "<img" not in html
    assert "a picture" in html
