"""`choose_ranks`: how far each layer of a model can be cut, by rule or for a budget."""

from keras_compress._activations import batches, check_data
from keras_compress._matching import matching
from keras_compress._rebuild import check_model
from keras_compress._validation import check_choice, invalid
from keras_compress.analysis.layer_candidates import LayerCandidates
from keras_compress.analysis.output_error import OutputError
from keras_compress.analysis.rank_choice import RankChoice
from keras_compress.functional import ranks
from keras_compress.layers._low_rank_swap import METHODS, LowRank
from keras_compress.report.weight_uses import weight_uses

RULES = {
    "gavish_donoho": ranks.gavish_donoho_rank,
    "evbmf": ranks.evbmf_rank,
}


def choose_ranks(
    model,
    *,
    energy=None,
    rule=None,
    params=None,
    multiply_adds=None,
    max_error=None,
    method="svd",
    where=None,
    data=None,
):
    """A rank for each layer of a model, by one rule for all or for one budget.

    By `energy` or `rule`, each layer's rank follows from the spectrum of its kernel.
    For a budget, all layers start dense, and the one that saves most for the damage is
    cut further, until the budget is met. The damage is measured, with one layer at a
    time cut, as the relative error of the model's outputs on `data`; without data it is
    the relative error of the kernel. Damages add up as squares.

    Args:
        model: A built Sequential or Functional model. It is left as it is.
        energy: Number in (0, 1]: the share of each kernel's energy to keep.
        rule: `"gavish_donoho"` or `"evbmf"`: what rises above the noise of the kernel.
        params: What the weights of the layers that were looked at may number together:
            an integer >= 1, or a share in (0, 1).
        multiply_adds: The same for multiply-adds (half the FLOP), for one example.
        max_error: Number in (0, 1): the relative error of the model's outputs on `data`
            that all cuts together may make, measured. Needs `data`.
        method: As of `keras_compress.LowRank`. Sensitivities for `"whitened_svd"` are
            those of `"svd"`, so what comes of it is no worse.
        where: As of `keras_compress.swap`.
        data: Calibration inputs, one array for each input of the model. Where their
            shape is not all known, multiply-adds are those of the first example.

    Returns:
        A `RankChoice`: a mapping for `keras_compress.swap`, with a table and a plot.
        Layers for which no cut pays are in the table alone.

    Raises:
        ValueError: If not exactly one way to choose is given, an argument is out of
            range, nothing matches `where`, or the budget cannot be met.

    Example:

    >>> layers = [keras.Input((64,)), keras.layers.Dense(64, name="fc")]
    >>> model = keras.Sequential(layers)
    >>> choice = choose_ranks(model, params=0.5)
    >>> keras_compress.swap(model, choice).count_params()
    2112

    Reference:
        - [Zhang et al., 2016](https://arxiv.org/abs/1505.06798), section 3.4: greedy
          ranks for a budget.
        - [Kim et al., 2016](https://arxiv.org/abs/1511.06530): `"evbmf"`.
    """
    check_model("model", model)
    check_choice("method", method, METHODS)
    given = {
        "energy": energy,
        "rule": rule,
        "params": params,
        "multiply_adds": multiply_adds,
        "max_error": max_error,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if len(given) != 1:
        raise ValueError(
            "`choose_ranks` takes exactly one of `energy`, `rule`, `params`, "
            f"`multiply_adds` and `max_error`. Received: {given or 'none of them'}"
        )
    arrays = None if data is None else check_data("data", model, data)
    looked_at = matching(model, LowRank(rank=1, method=method), where)
    inputs = None if arrays is None else next(batches(model, arrays))
    uses = weight_uses(model, inputs)
    if multiply_adds is not None and uses is None:
        shape = f"the input shape of {model.name!r} is not all known"
        raise invalid("data", f"given with `multiply_adds`: {shape}", None)
    layers = [
        LayerCandidates(
            path, layer, method, None if uses is None else uses.get(id(layer), 0)
        )
        for path, layer, _ in looked_at
    ]
    (how, amount), *_ = given.items()
    if how == "energy":
        config = LowRank(energy=amount, method=method)
        for layer in layers:
            layer.choose(config.rank_of(layer.layer, layer.kernel))
    elif how == "rule":
        check_choice("rule", amount, tuple(RULES))
        for layer in layers:
            layer.choose(layer.rank_by(RULES[amount]))
    else:
        outputs = None if arrays is None else OutputError(model, arrays)
        for layer in layers:
            layer.find_candidates(outputs)
        if how == "max_error":
            _cut_to_error(layers, ranks.check_max_error(amount), outputs)
        else:
            _cut_to_budget(layers, how, amount)
        return _choice(layers, outputs)
    return _choice(layers, None if arrays is None else OutputError(model, arrays))


def _choice(layers, outputs):
    configs = {
        layer.path: LowRank(rank=layer.rank, method=layer.method)
        for layer in sorted(layers, key=lambda x: -x.path.count("/"))
        if layer.rank is not None
    }
    error = outputs.error(layers) if outputs is not None else None
    return RankChoice(configs, [layer.found(outputs) for layer in layers], error)


def _cut_to_budget(layers, what, amount):
    amount = _check_budget(what, amount)
    total = sum(layer.cost(what, None) for layer in layers)
    budget = amount * total if isinstance(amount, float) else amount
    while sum(layer.cost(what, layer.rank) for layer in layers) > budget:
        (_, index), layer = min(
            ((layer.next_step(what), layer) for layer in layers),
            key=lambda pair: pair[0][0],
        )
        if index is None:
            least = sum(layer.cost(what, layer.rank) for layer in layers)
            raise invalid(what, f"at least {least:,} for these layers", amount)
        layer.go_to(index)
    left = budget - sum(layer.cost(what, layer.rank) for layer in layers)
    for layer in sorted(layers, key=lambda x: -x.damages[x.at]):
        left = layer.grow(what, left)


def _check_budget(name, amount):
    try:
        return ranks.check_params(amount)
    except ValueError as error:
        expected = "an integer >= 1 or a share in (0, 1)"
        raise invalid(name, expected, amount) from error


def _cut_to_error(layers, most, outputs):
    """Cuts as long as the error stays below `most`: predicted first, then measured."""
    if outputs is None:
        raise invalid("data", "given with `max_error`, which is measured on it", None)
    done = []
    while True:
        spent = sum(layer.damages[layer.at] for layer in layers)
        steps = [
            (step, layer)
            for layer in layers
            for step in [layer.next_step("params")]
            if step[1] is not None
            and spent - layer.damages[layer.at] + layer.damages[step[1]] <= most**2
        ]
        if not steps:
            break
        (_, index), layer = min(steps, key=lambda pair: pair[0][0])
        done.append((layer, layer.at))
        layer.go_to(index)
    # Damages need not add up as predicted: go back until they are small enough.
    while done and outputs.error(layers) > most:
        layer, index = done.pop()
        layer.go_to(index)
