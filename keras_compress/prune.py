"""`prune`: masks weights of a whole model at once, by one criterion of several."""

from keras_compress._criterion import Criterion
from keras_compress._matching import matching
from keras_compress._rebuild import check_model
from keras_compress._validation import check_choice, check_real, invalid
from keras_compress.functional.patterns import check_sparsity
from keras_compress.layers.pruned import Prune, is_pruned, prune_together


def prune(
    model,
    sparsity,
    *,
    criterion="magnitude",
    data=None,
    targets=None,
    loss=None,
    scope="layer",
    where=None,
    refit=None,
):
    """Prunes the pruned layers of a model, without training: one shot.

    What was masked before stays masked. Repeated with rising `sparsity` and training in
    between, or by `callbacks.IterativePruning`, which takes the same criteria, it gets
    further.

    Args:
        model: A built Sequential or Functional model with pruned layers, as `swap`
            makes them. Their masks change, and with `refit` their weights and biases.
        sparsity: Number in `[0, 1]`: the fraction of zeros.
        criterion: Which weights go first.
            `"magnitude"`: the smallest.
            `"gradient"`: those whose `|w dL/dw|` is smallest, on `data` and `targets`
            (SNIP). The only one that is made to compare weights across layers; says
            little about networks that are trained to the end.
            `"activation"`: those whose `|w|` times the norm of its input is smallest,
            on `data` (Wanda).
            `"brain_surgeon"`: those that the layer's outputs can spare, when all others
            make up for it, on `data`; exact, each layer for itself. Takes about
            `inputs^3 / 6` multiply-adds an output: minutes for 1024 by 1024.
            Or a function of the kernel and what is known of it, to an array of its
            shape, of numbers >= 0; the lowest go first. See below.
        data: Inputs to look at, some hundred examples: one array for each input of the
            model; or a `tf.data.Dataset` of batches of inputs, or inputs and targets.
        targets: The targets of `data`, if these are arrays, for gradients.
        loss: A loss, or its name, for gradients. Defaults to the compiled one.
        scope: `"layer"`: every layer gets to `sparsity`. `"global"`: scores are
            compared across layers, which together get to it.
        where: As of `swap`: which layers. Every glob must match a pruned one. Defaults
            to all of them.
        refit: Whether the weights that stay, and the biases, take the values that keep
            each layer's outputs on `data` nearest to what they were. Defaults to doing
            so with `"brain_surgeon"` only. Takes about `kept^3 / 3` multiply-adds an
            output, `kept` being the weights that it keeps.

    A function of one's own is called as `criterion(kernel, known)`. The kernel is an
    array as the layer holds it, with what is behind the mask. Of `known` it may ask
    `layer`, `mask`, `pattern`, `gradient` (of the mean loss by the kernel) and
    `input_norms` (the root mean square of the input of each weight), the latter two of
    the kernel's shape, found in the data.

    Raises:
        ValueError: If the model has no pruned layers, `data` or `targets` are missing
            or do not fit, or an argument is out of range.

    Example:

    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> small = keras_compress.swap(model, keras_compress.Prune())
    >>> prune(small, 0.75, criterion="activation", data=np.eye(8, dtype="float32"))
    >>> small.layers[0].sparsity
    0.75
    >>> prune(small, 0.8, criterion=lambda kernel, known: kernel**2)

    Reference:
        - `"magnitude"`: [Han et al., 2015](https://arxiv.org/abs/1506.02626)
        - `"gradient"`: [Lee et al., 2019](https://arxiv.org/abs/1810.02340)
        - `"activation"`: [Sun et al., 2023](https://arxiv.org/abs/2306.11695)
        - `"brain_surgeon"`: [Frantar & Alistarh, 2022](https://arxiv.org/abs/2208.11580)
    """
    check_model("model", model)
    sparsity = check_real("sparsity", sparsity, minimum=0.0, maximum=1.0)
    check_choice("scope", scope, ("layer", "global"))
    layers = pruned_layers(model, where)
    for layer in layers:
        check_sparsity("sparsity", sparsity, layer.pattern)
    chosen = Criterion(criterion, data=data, targets=targets, loss=loss, refit=refit)
    with chosen.judging(model, layers) as scores:
        if scope == "global":
            prune_together(layers, sparsity, scores=scores, regrow=False)
        else:
            for layer, score in zip(layers, scores, strict=True):
                layer.prune(sparsity=sparsity, scores=score, regrow=False)


def pruned_layers(model, where=None):
    """The pruned layers of a model, of those that `where` means.

    Raises:
        ValueError: If there are none, or none for a glob of several.
    """
    found = [layer for _, layer, _ in matching(model, Prune(), where)]
    found = [layer for layer in found if is_pruned(layer)]
    if not found:
        raise ValueError(
            f"`model` must have pruned layers to prune. Received: {model.name!r}, with "
            f"none for where={where!r}. Swap some first: keras_compress.swap(model, "
            "keras_compress.Prune())"
        )
    globs = where if isinstance(where, list | tuple | set) else ()
    for glob in globs:
        if not any(is_pruned(layer) for _, layer, _ in matching(model, Prune(), glob)):
            names = ", ".join(layer.name for layer in found)
            raise invalid("where", f"of pruned layers, here {names}", glob)
    return found
