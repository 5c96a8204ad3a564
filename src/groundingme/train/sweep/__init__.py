"""The same model trained on mixtures of every ratio, and what each costs and gains.

plan.py       ratios, exams, and what a learner must be able to do
worlds.py     drawn scenes to learn from, and drawn scenes that are shifted away from them
grounder.py   a learner: the matcher of the built-in grounder
lessons.py    its batches, in exact ratios
hub.py        a learner: a model of the Hub, tuned on data sets of one's own
running.py    train, ask, reduce, write; goes on where it was stopped
reduction.py  from scores to figures with intervals, the recommendation, the finding
tables.py     the paper's table
figure.py     the paper's figure
"""
