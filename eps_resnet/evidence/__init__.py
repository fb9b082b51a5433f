"""Results beside the paper: tables, figures, claims, the report."""

import os

# What a user has set for drawings of his own neither changes one of these nor stops what only looks. Before anything
# below imports matplotlib, since `figures.drawing` puts its own style on top.
os.environ["MPLBACKEND"] = "Agg"
os.environ["MATPLOTLIBRC"] = os.devnull
import matplotlib

matplotlib.rcdefaults()  # a matplotlibrc in the working folder comes before the one above
