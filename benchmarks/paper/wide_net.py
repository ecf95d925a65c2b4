"""The lecture's 784-1024^5-10, in floats, with weights as large as it shows them.

Half of that network's weights are below 0.1 in size, and what becomes of it with few
fraction bits, or without those below 0.1, hangs on that scale. So weights start that
large here, and max-norm holds them. Scores then deviate by hundreds, of which a softmax
learns little: the loss sees them divided by what they deviate by at the start, the
`temperature`.
"""

from pathlib import Path

from digit_runs import train


def add_arguments(parser):
    """What its runs take."""
    add = parser.add_argument
    add("--width", type=int, default=1024)
    add("--depth", type=int, default=5)
    add("--scale", type=float, default=0.148, help="deviation of the first weights")
    add("--epochs", type=int, default=20, help="in floats")
    add("--rate", type=float, default=3e-3, help="of Adam, in floats")
    add("--dropout", nargs=2, type=float, default=[0.1, 0.2], help="inputs, hidden")
    add("--batch", type=int, default=250)
    add("--folder", help="keeps trained networks here, and uses those it has again")


def network(args, pixels):
    """Untrained, of ten scores."""
    import keras

    start = keras.initializers.RandomNormal(0, args.scale)
    layers = [keras.Input((pixels,)), keras.layers.Dropout(args.dropout[0])]
    for number in range(args.depth):
        layers.append(
            keras.layers.Dense(
                args.width,
                activation="relu",
                name=f"fc{number + 1}",
                kernel_initializer=start.clone(),
                kernel_constraint=keras.constraints.MaxNorm(
                    args.scale * args.width**0.5
                ),
            )
        )
        layers.append(keras.layers.Dropout(args.dropout[1]))
    layers.append(
        keras.layers.Dense(10, kernel_initializer=start.clone(), name="scores")
    )
    return keras.Sequential(layers)


def trained(args, seed, digits):
    """The trained network, its loss, and what describes both."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(seed)
    model = network(args, digits.x_train.shape[1])
    temperature = float(np.std(model(digits.x_train[:1000])))

    def loss(labels, scores):
        return keras.losses.sparse_categorical_crossentropy(
            labels, scores / temperature, from_logits=True
        )

    settings = (
        *(args.width, args.depth, args.scale, args.epochs, args.rate),
        args.batch,
    )
    name = "-".join(str(one) for one in (*settings, *args.dropout, args.held_out, seed))
    path = Path(args.folder, f"wide-{name}.weights.h5") if args.folder else None
    if path is not None and path.exists():
        model.load_weights(path)
    else:
        train(args, model, digits, loss, args.epochs, args.rate)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            model.save_weights(path)
    # What comes next is the same, whether it was trained here or read.
    keras.utils.set_random_seed(seed)
    weights = np.concatenate(
        [layer.kernel.numpy().ravel() for layer in model.layers if layer.weights]
    )
    facts = {
        "median weight": float(np.median(np.abs(weights))),
        "temperature": temperature,
    }
    return model, loss, facts
