"""Find out whether a pair pays, and which parameters its policy needs: data sets, paired runs, tables and plots."""

from langchain_spec_thinking.evaluation.checks import Check, check_of
from langchain_spec_thinking.evaluation.choice import Goal
from langchain_spec_thinking.evaluation.questions import Question, load_questions
from langchain_spec_thinking.evaluation.results import Evaluation
from langchain_spec_thinking.evaluation.runnables import RunnableVariant
from langchain_spec_thinking.evaluation.runs import evaluate
from langchain_spec_thinking.evaluation.tuned import Tuning
from langchain_spec_thinking.evaluation.tuning import tune
from langchain_spec_thinking.evaluation.variants import Variant, alone

__all__ = [
    "Check",
    "Evaluation",
    "Goal",
    "Question",
    "RunnableVariant",
    "Tuning",
    "Variant",
    "alone",
    "check_of",
    "evaluate",
    "load_questions",
    "tune",
]
