"""The paper's method: what decides a training's numbers."""
