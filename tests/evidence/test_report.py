"""The report, as a reader meets it: in headless Chromium, on the committed digits results and on nothing at all."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from urllib.parse import unquote
from xml.etree import ElementTree

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from playwright.sync_api import Browser, Page, sync_playwright
from typer.testing import CliRunner

from eps_resnet.cli import app
from eps_resnet.evidence import figures
from eps_resnet.evidence.compare import compare
from eps_resnet.evidence.figures import drawing
from eps_resnet.evidence.report import VERDICTS, charts, markdown, numbers, render, report_path, write_report
from eps_resnet.experiments import registry
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
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


def column(page: Page, heading: str) -> list[str]:
    """What a column of the verdict table shows, in the order shown: what it sorts by, or its text."""
    return page.evaluate(  # type: ignore[no-any-return]
        """heading => {
            const table = document.getElementById("verdict-table");
            const cell = [...table.tHead.rows[0].cells].find(cell => cell.innerText.startsWith(heading));
            return [...table.tBodies[0].rows].filter(row => !row.hidden)
                .map(row => row.cells[cell.cellIndex]).map(cell => cell.dataset.value ?? cell.innerText.trim());
        }""",
        heading,
    )


def direction(page: Page, heading: str) -> str | None:
    """How the verdict table says that a column is sorted."""
    return page.locator("#verdict-table th", has_text=heading).get_attribute("aria-sort")


def test_the_counts_shown_are_those_of_compare(experiments: Registry, done: Layout, page: Page) -> None:
    comparisons = compare(experiments, done)
    verdicts = Counter(comparison.verdict for comparison in comparisons)
    page.goto(report_path(done).as_uri())
    line = page.inner_text("#state-line")
    paper = [key for key, run in experiments.runs.items() if experiments.datasets[run.dataset].is_papers]
    on_a_cpu = [key for key, run in experiments.runs.items() if run.dataset == "cifar10-cpu"]
    ready, ready_on_a_cpu = (
        sum(state.state(experiments.experiment(key, done)) == "done" for key in keys) for keys in (paper, on_a_cpu)
    )
    assert line.startswith(
        f"{ready} of {len(paper)} runs of the paper are done, 55 of 55 on digits, "
        f"{ready_on_a_cpu} of {len(on_a_cpu)} on CIFAR-10 on a CPU. "
        f"Of {len(comparisons)}"
    )
    exact = sum(c.verdict == "reproduced" and c.n_seeds == 0 for c in comparisons)
    trained, counted = verdicts["reproduced"] - exact, exact
    assert f" {trained} are reproduced by training and {counted} by counting parameters;" in line
    counts = re.findall(r"(\d+) ([a-z ]+)[,.]", line.split(";")[1])
    others = {verdict: verdicts[verdict] for verdict in VERDICTS if verdict != "reproduced"}
    assert {words: int(count) for count, words in counts} == others
    cells = page.eval_on_selector_all("#state tbody td", "cells => cells.map(cell => Number(cell.innerText) || 0)")
    assert sum(cells) == len(comparisons)
    shown = page.eval_on_selector_all("#verdict-table tbody tr", "rows => rows.map(row => row.dataset.verdict)")
    assert Counter(shown) == verdicts
    assert shown == column_texts(page, 0)


def column_texts(page: Page, index: int) -> list[str]:
    script = f"rows => rows.map(row => row.cells[{index}].innerText.trim())"
    return page.eval_on_selector_all("#verdict-table tbody tr", script)  # type: ignore[no-any-return]


def test_a_click_sorts_numbers_by_value_and_the_next_click_turns_them_round(empty: Layout, page: Page) -> None:
    page.goto(report_path(empty).as_uri())
    before = [float(value) for value in column(page, "published")]
    button = page.get_by_role("button", name="published")
    button.click()
    assert [float(value) for value in column(page, "published")] == sorted(before) != before
    assert direction(page, "published") == "ascending"
    button.click()
    assert [float(value) for value in column(page, "published")] == sorted(before, reverse=True)
    assert direction(page, "published") == "descending"
    page.get_by_role("button", name="depth").click()
    assert (direction(page, "published"), direction(page, "depth")) == (None, "ascending")


def test_the_keyboard_sorts_too_with_empty_cells_last_in_either_direction(empty: Layout, page: Page) -> None:
    page.goto(report_path(empty).as_uri())
    page.get_by_role("button", name="depth").focus()
    page.keyboard.press("Tab")  # to the next heading, epsilon
    for key in ("Enter", "Space"):
        page.keyboard.press(key)
        values = column(page, "ε")
        filled = [float(value) for value in values if value]
        assert 0 < len(filled) < len(values)
        assert values[len(filled) :] == [""] * (len(values) - len(filled))
        assert filled == sorted(filled, reverse=key == "Space")


def test_words_with_numbers_sort_by_the_number(empty: Layout, page: Page) -> None:
    page.goto(report_path(empty).as_uri())
    page.get_by_role("button", name="quantity").click()
    epochs = [int(text.rsplit(" ", 1)[1]) for text in column(page, "quantity") if text.startswith("blocks discarded, ")]
    assert len(epochs) > 50
    assert epochs == sorted(epochs)


def test_the_filters_leave_what_fits_all_of_them(experiments: Registry, empty: Layout, page: Page) -> None:
    rows = compare(experiments, empty)
    page.goto(report_path(empty).as_uri())
    filters = page.locator("#filters")
    filters.get_by_label("Figure").select_option("9")
    assert len(column(page, "figure")) == sum(row.figure == "9" for row in rows)
    filters.get_by_label("Data set").select_option("CIFAR-100")
    verdict = next(row.verdict for row in rows if (row.figure, row.dataset) == ("9", "cifar100"))
    filters.get_by_label("Verdict").select_option(verdict)
    fitting = [row for row in rows if (row.figure, row.dataset, row.verdict) == ("9", "cifar100", verdict)]
    assert 0 < len(column(page, "figure")) == len(fitting) < len(rows)
    assert set(column(page, "data set")) == {"CIFAR-100"}
    assert page.inner_text("#shown") == f"{len(fitting)} of {len(rows)} numbers shown"
    filters.get_by_label("Text").fill("no such words")
    assert column(page, "figure") == []
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function(f"document.getElementById('shown').textContent.startsWith('{len(rows)} of')")
    assert len(column(page, "figure")) == len(rows)


def test_without_its_script_the_page_shows_every_number_and_no_filters(empty: Layout, browser: Browser) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(report_path(empty).as_uri())
    assert page.locator("#verdict-table tbody tr:visible").count() == 257
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


def test_every_number_of_a_planned_network_links_to_its_runs(experiments: Registry, empty: Layout, page: Page) -> None:
    page.goto(report_path(empty).as_uri())
    links = page.eval_on_selector_all(
        "#verdict-table tbody tr", "rows => rows.map(row => [...row.querySelectorAll('.runs a')].map(a => a.hash))"
    )
    for comparison, found in zip(compare(experiments, empty), links, strict=True):
        network = (comparison.dataset, comparison.depth, comparison.method, comparison.epsilon)
        planned = [
            f"#run-{key}"
            for key, run in experiments.runs.items()
            if (run.dataset, run.depth, run.method, run.epsilon) == network and run.weight_decay is None
        ]
        is_counted = comparison.ours is not None  # from the shape of the network: no run was needed
        assert found == ([] if is_counted else planned)
    assert sum(map(bool, links)) > 230


def test_one_click_leads_from_a_number_to_what_its_run_was_made_from(done: Layout, page: Page) -> None:
    page.goto(report_path(done).as_uri())
    figure = page.locator(f"#{DRAWN}")
    figure.locator("img").first.evaluate("image => (image.loading = 'eager', image.decode())")  # it moves what is below
    figure.get_by_text("Table and notes").click()
    figure.get_by_role("link", name=RUN).first.click()
    run = page.locator(":target")
    assert run.get_attribute("id") == f"run-{RUN}"
    manifest = json.loads(done.run(RUN).manifest.read_text())
    text = run.inner_text()
    for fact in (
        manifest["fingerprint"],
        manifest["machine"]["torch"],
        manifest["machine"]["device"],
        manifest["finished"],
        manifest.get("git_commit") or "not recorded",
        numbers.duration(manifest["seconds"]["training"]),
        f"eps-resnet train {RUN}",
    ):
        assert fact in text
    run.get_by_text("Configuration", exact=True).click()
    assert str(manifest["made_from"]["recipe"]["weight_decay"]) in run.inner_text()
    assert page.evaluate("document.querySelector(':target').getBoundingClientRect().top") >= 0


def test_a_smaller_version_has_a_section_with_each_difference_its_reason_and_the_papers_numbers(
    experiments: Registry, report: Path, page: Page
) -> None:
    page.goto(report.as_uri())
    page.get_by_role("navigation").get_by_role("link", name="CIFAR-10 on a CPU").click()
    section = page.locator(":target")
    text = section.inner_text()
    for reason in experiments.datasets["cifar10-cpu"].reduced.values():
        assert reason in text
    rows = section.locator("tbody tr")
    assert rows.count() == 9
    assert rows.get_by_text("not comparable").count() == 9
    assert page.locator("#verdict-table tbody tr").count() == 257


def test_nothing_is_requested_and_nothing_complained_of(report: Path, page: Page) -> None:
    page.goto(report.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
    for button in page.locator("#verdict-table th button").all():
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
    image = page.locator(f"#{DRAWN} img")
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
    region = page.get_by_role("region", name="Every published number").last
    assert region.evaluate("element => element.scrollWidth > element.clientWidth && element.tabIndex === 0")


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
    assert page.locator("script").count() == 1
    assert page.locator("b, [onclick]").count() == 0
    assert page.title().startswith("eps-resnet")
    assert page.locator(f"#{DRAWN} h4").inner_text() == HOSTILE
    assert page.locator(f"#{DRAWN} .note ul").text_content().count("<script>") == 1
    assert page.locator(f"#run-{RUN}").inner_text().count(HOSTILE) == 2
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
    assert run.evaluate("element => element.tagName") == "TR"
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
        assert "not drawn" in text
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
        for line in chart.lines:
            places = [tuple(map(float, point.split(","))) for point in line.points.split()]
            assert all(charts.LEFT <= x <= charts.RIGHT and charts.TOP <= y <= charts.BOTTOM for x, y in places)
        assert charts.LEFT <= chart.marked <= charts.RIGHT


def test_the_charts_of_long_trainings_take_little_of_the_page() -> None:
    epochs = pd.RangeIndex(1, 1001)
    noise = [((n * 7919) % 1000) / 1000 for n in epochs]
    history = pd.DataFrame({"epoch": epochs, "rate": 0.1, "discarded": 3, "train_error": noise, "test_error": noise})
    size = sum(len(line.points) for chart in charts.charts(history, 9, 900) for line in chart.lines)
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


def test_links_of_a_document_become_text() -> None:
    html = markdown.render_document("see [cost](cost.md), [site](https://example.org/) and <https://example.org/>")
    assert "<a" not in html
    assert "see cost, site and" in html


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
    figure.locator("img").scroll_into_view_if_needed()
    assert figure.locator("img").evaluate("async image => { await image.decode(); return image.naturalWidth; }") > 300
    assert figure.locator("h4").text_content() == MALICE[kind]
    assert f"Trained on an altered copy of {MALICE[kind]}: {MALICE[kind]}." in (figure.text_content() or "")
    assert (run.text_content() or "").count(MALICE[kind]) > 10
    assert page.title() == "eps-resnet: the state of the reproduction"
    assert page.noticed == []  # type: ignore[attr-defined]

    texts = ElementTree.parse(layout.tables(DRAWN) / "figure.svg").iter("{http://www.w3.org/2000/svg}text")
    shown = [re.sub(r"\s", "", "".join(text.itertext())) for text in texts]
    assert any(re.sub(r"\s", "", MALICE[kind]) in text for text in shown)
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
    drawing.save(tmp_path, canvas, ["note \x00\ud800\n\x0c"])
    words = "".join(ElementTree.parse(tmp_path / "figure.svg").getroot().itertext())
    assert "title  [31m" in words
    assert "note" in words


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
