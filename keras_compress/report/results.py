"""What a report holds: exact numbers of models and of their layers."""

import dataclasses
import json
import pathlib

from keras_compress.functional import cost
from keras_compress.report import plots, tables


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """One layer of a model, for one example.

    Args:
        name: The layer's name.
        kind: Its class's name.
        calls: How often a forward pass calls it; time steps count.
        parameters: Elements of its floating-point variables.
        memory_bytes: Bytes of its variables.
        weights: Elements of its weight arrays, were they dense.
        weights_kept: Those that are stored or not zero.
        multiply_adds: Of the dense arithmetic; `None` if nobody knows.
        effective_multiply_adds: Of the kept weights.
        executed_multiply_adds: Of what the layer really computes.
        energy_pj: Picojoules of the executed multiply-adds; `None` if not known.
        first: Whether it reads the model's inputs: these count as without zeros.
        input_elements: Size of its inputs, the examples of `activations` together.
        input_sparsity: Fraction of zeros in them; `None` if not measured.
        activation_sparsity: Fraction of zeros in its outputs; `None` if not measured.
    """

    name: str
    kind: str
    calls: int = 1
    parameters: int = 0
    memory_bytes: int = 0
    weights: int = 0
    weights_kept: int = 0
    multiply_adds: int | None = 0
    effective_multiply_adds: int | None = 0
    executed_multiply_adds: int | None = 0
    energy_pj: float | None = 0.0
    first: bool = False
    input_elements: int = 0
    input_sparsity: float | None = None
    activation_sparsity: float | None = None

    @property
    def sparsity(self):
        """Fraction of weights that are not kept, in `[0, 1]`; `None` without any."""
        return None if not self.weights else 1.0 - self.weights_kept / self.weights

    @property
    def flop(self):
        """Two for each multiply-add of the dense arithmetic."""
        return None if self.multiply_adds is None else 2 * self.multiply_adds

    @property
    def remaining_work(self):
        """Fraction of the products whose two factors are both not zero; or `None`."""
        if not self.multiply_adds or not self.weights:
            return None
        if not self.first and self.input_sparsity is None:
            return None
        input_sparsity = 0.0 if self.first else self.input_sparsity
        return cost.remaining_work(self.sparsity, input_sparsity)


@dataclasses.dataclass(frozen=True)
class ModelCost:
    """One model: a column of the report, and its layers.

    Args:
        name: The column's title.
        layers: Tuple of `LayerCost`, in the order of the forward pass.
        parameters: Elements of floating-point variables, each counted once.
        memory_bytes: Bytes of the model's variables.
        output_elements: Size of its outputs, the examples of `activations` together.
        output_sparsity: Fraction of zeros in them; `None` if not measured.
        keras_bytes: Bytes of its `.keras` file; `None` if not measured.
        deflated_bytes: Bytes of the file of `keras_compress.save`; `None` if not
            measured.
        saved_model_bytes: Bytes of its SavedModel; `None` if not measured.
        latency: Dict from batch size to median seconds; empty if not measured.
    """

    name: str
    layers: tuple
    parameters: int = 0
    memory_bytes: int = 0
    output_elements: int = 0
    output_sparsity: float | None = None
    keras_bytes: int | None = None
    deflated_bytes: int | None = None
    saved_model_bytes: int | None = None
    latency: dict = dataclasses.field(default_factory=dict)

    @property
    def weights(self):
        """Elements of all weight arrays, were they dense."""
        return sum(layer.weights for layer in self.layers)

    @property
    def weights_kept(self):
        """Weights that are stored or not zero."""
        return sum(layer.weights_kept for layer in self.layers)

    @property
    def sparsity(self):
        """Fraction of weights that are not kept; `None` without any."""
        return None if not self.weights else 1.0 - self.weights_kept / self.weights

    @property
    def multiply_adds(self):
        """Of the dense arithmetic, for one example; layers marked `?` left out."""
        return sum(layer.multiply_adds or 0 for layer in self.layers)

    @property
    def effective_multiply_adds(self):
        """Of the kept weights, for one example; layers marked `?` left out."""
        return sum(layer.effective_multiply_adds or 0 for layer in self.layers)

    @property
    def remaining_work(self):
        """Fraction of the weights' products left where no factor is zero; or `None`."""
        layers = [x for x in self.layers if x.weights and x.multiply_adds]
        if not layers or any(layer.remaining_work is None for layer in layers):
            return None
        work = sum(layer.multiply_adds for layer in layers)
        left = sum(layer.multiply_adds * layer.remaining_work for layer in layers)
        return left / work

    @property
    def activation_sparsity(self):
        """Fraction of zeros in what layers with weights read, and in the outputs.

        The model's inputs are left out: Han counts the activations of the network.
        """
        read = [
            (layer.input_elements, layer.input_sparsity)
            for layer in self.layers
            if layer.weights and not layer.first
        ]
        read.append((self.output_elements, self.output_sparsity))
        elements = sum(size for size, _ in read)
        if not elements or any(sparsity is None for _, sparsity in read):
            return None
        return sum(size * sparsity for size, sparsity in read) / elements

    @property
    def energy_pj(self):
        """Picojoules: the multiply-adds done, and every variable read once from DRAM.

        `None` if a layer's arithmetic has no entry in Horowitz's table.
        """
        parts = [layer.energy_pj for layer in self.layers]
        if any(part is None for part in parts):
            return None
        return sum(parts) + cost.memory_energy(self.memory_bytes)


@dataclasses.dataclass(frozen=True)
class Report:
    """What `keras_compress.report` returns; prints as a table.

    Args:
        models: Tuple of `ModelCost`, one a column.
        extra: Dict from a row's title to one value a model.
        batches: Tuple of the batch sizes that were timed; empty if none.
        threads: Threads that one TensorFlow operation may use; `None` if not timed.
        notes: Tuple of sentences about what was not counted or measured.
    """

    models: tuple
    extra: dict = dataclasses.field(default_factory=dict)
    batches: tuple = ()
    threads: int | None = None
    notes: tuple = ()

    def to_dict(self):
        """All numbers, exact, as dicts, lists and numbers that JSON knows."""
        return {
            "models": [_model_dict(model) for model in self.models],
            "extra": {key: list(values) for key, values in self.extra.items()},
            "batches": list(self.batches),
            "threads": self.threads,
            "notes": list(self.notes),
        }

    def to_json(self):
        """`to_dict` as a JSON text."""
        return json.dumps(self.to_dict(), indent=2)

    def to_markdown(self):
        """The tables in GitHub's markdown."""
        return tables.render(self, markdown=True)

    def plot(self, path):
        """Draws the models' costs beside the first one's, and the weights kept.

        Args:
            path: The picture's path; its ending says the format (`.png`, `.svg`).

        Returns:
            `path`, as a `pathlib.Path`.

        Raises:
            ImportError: If matplotlib is not installed.
            ValueError: If the path's ending is not that of a picture.
        """
        return plots.plot(self, pathlib.Path(path))

    def __str__(self):
        return tables.render(self, markdown=False)

    def _repr_markdown_(self):
        return self.to_markdown()


def _model_dict(model):
    names = (
        "name parameters weights weights_kept sparsity memory_bytes multiply_adds "
        "effective_multiply_adds remaining_work activation_sparsity energy_pj "
        "keras_bytes deflated_bytes saved_model_bytes"
    ).split()
    latency = {str(batch): seconds for batch, seconds in model.latency.items()}
    return {
        **{name: getattr(model, name) for name in names},
        "latency_seconds": latency,
        "layers": [_layer_dict(layer) for layer in model.layers],
    }


def _layer_dict(layer):
    derived = ("sparsity", "flop", "remaining_work")
    return {
        **dataclasses.asdict(layer),
        **{name: getattr(layer, name) for name in derived},
    }
