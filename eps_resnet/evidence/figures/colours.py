"""The colours of drawings, and what they become on the page's dark ground. Words have the page's."""

# Okabe and Ito's colours differ for the colour-blind; markers and dashes differ in grey.
STANDARD = "#0072B2"
STANDARD_SIDE = "#009E73"
EPSILON = "#D55E00"
BY_BLOCKS = "#E69F00"  # sizes by share of blocks

INK = "#000000"  # the paper's numbers, and lines that mark something
GROUND = "#ffffff"
PAPERS_BLOCKS = "#404040"  # blocks that the paper's network keeps
QUIET = "#595959"  # text beside the data
WHOLE = "#666666"  # networks with all their blocks
APART = "#9a9a9a"  # the paper's numbers beside those of another recipe
EDGE = "#a6a6a6"  # between blocks
GRID = "#e6e6e6"
DISCARDED = "#f2f2f2"  # blocks that are gone

# On a dark ground; a colour that is not here can be told from either.
DARK = {
    STANDARD: "#56b4e9",
    STANDARD_SIDE: "#4fd1a5",
    EPSILON: "#f0883e",
    INK: "#e3e7ec",
    GROUND: "#1a1e24",
    PAPERS_BLOCKS: "#b6bfcb",
    QUIET: "#a3acb9",
    WHOLE: "#a3acb9",
    GRID: "#323a45",
    DISCARDED: "#2a313a",
}
