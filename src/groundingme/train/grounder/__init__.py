"""The recipe of the built-in grounder: `python -m groundingme.train.grounder --out DIR`.

Scenes are drawn, three small nets are trained on them apart from each other (look: where are
things; read: what is each; match: which one is meant), scored, and written as ONNX.
"""
