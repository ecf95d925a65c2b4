"""A kernel with masked weights, in as few passes over it as can be."""

from keras import ops

from keras_compress.functional.sign import read


def masked(kernel, mask, through=False):
    """`where(mask, kernel, 0)`: a masked weight may be anything, infinite included.

    Its gradient, `dL/dkernel = dL/dw * mask`, is a product: that is faster than another
    choice between two arrays.

    Args:
        kernel: Float tensor.
        mask: Boolean tensor like `kernel`, `False` where the weight is 0.
        through: Whether masked weights get the gradient of what they would be, as in
            dynamic network surgery: they train on under the mask.

    Returns:
        Tensor like `kernel`.

    Example:

    >>> kernel, mask = np.array([1.5, np.inf]), np.array([True, False])
    >>> print(ops.convert_to_numpy(masked(kernel, mask)))
    [1.5 0. ]
    """
    mask = read(mask)

    @ops.custom_gradient
    def forward(kernel):
        def grad(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            if through:
                return upstream
            return upstream * ops.cast(mask, upstream.dtype)

        return ops.where(mask, kernel, ops.zeros((), kernel.dtype)), grad

    return forward(read(kernel))
