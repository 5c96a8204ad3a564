"""A Qwen3-VL from nothing, on drawn scenes: trained, measured, and taken through the sweep.

The architecture is the real one, of transformers' own classes; size, vocabulary and weights are
ours. Sizes and what is saved of them (`fresh`), arithmetic of a row and of chips (`flops`), stages
from scenes to figures (`stages`).
"""
