"""What models cost, counted and measured, side by side in one table."""

from keras_compress.functional.cost import Product
from keras_compress.report import own_costs as _own_costs  # noqa: F401  registers them
from keras_compress.report.compare import report
from keras_compress.report.layer_costs import register_cost
from keras_compress.report.results import LayerCost, ModelCost, Report

__all__ = ["LayerCost", "ModelCost", "Product", "Report", "register_cost", "report"]
