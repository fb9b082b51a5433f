"""An axis of depths or epsilons, which stand at their true distances: equal ones would bend every slope."""

from dataclasses import dataclass

LOG_FROM = 4  # values that span more than this factor stand on a logarithmic axis
MARGIN = 0.07  # of the axis, beyond the first and the last value


@dataclass(frozen=True)
class Axis:
    """Values in ascending order, and their labels."""

    values: tuple[float, ...]
    labels: tuple[str, ...]

    @property
    def is_log(self) -> bool:
        """Whether it is logarithmic."""
        return self.values[-1] > LOG_FROM * self.values[0]

    @property
    def limits(self) -> tuple[float, float]:
        """Where it begins and ends."""
        return self.moved(self.values[0], -MARGIN), self.moved(self.values[-1], MARGIN)

    def roomy_labels(self, least: float) -> tuple[str, ...]:
        """The labels, without those nearer to the one before, or to the last, than so large a share of the axis."""
        kept: list[float] = []
        for value in self.values:
            is_free = not kept or value >= self.moved(kept[-1], least)
            if value == self.values[-1] or (is_free and self.moved(value, least) <= self.values[-1]):
                kept.append(value)
        return tuple(label if value in kept else "" for value, label in zip(self.values, self.labels, strict=True))

    def moved(self, value: float, share: float) -> float:
        """The place that lies so large a share of the axis to the right of a value."""
        low, high = self.values[0], self.values[-1]
        if self.is_log:
            return float(value * (high / low) ** share)
        return float(value + share * ((high - low) or high))
