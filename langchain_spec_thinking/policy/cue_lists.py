"""The default cues, in the languages in which reasoning models think.

No setting chooses the language. A text can contain only cues of its own script, and a mixed text those of both.

Models think in English and Chinese, whatever the language of the question: the scripts of their thoughts are mostly
Latin and Han (arXiv:2505.14815). Models that think in another language need a list of their own.

Sources:
    English: the method (arXiv:2504.12329, appendix A.2).
    Chinese: the same kinds of words. Projects that count reflections in Chinese thoughts search for them:
        `yyht/openrlhf_async_pipline` (`env/common/key_pattern.py`), `walterttm/guwen-llm-practice`
        (`task3_grpo_qwen0.6b/eval_gsm8k.py`) and NeMo-Skills (`recipes/reasoning-language/lang_libs.py`). The words
        of affirmation, of a recap and of another way are translations of the English cues.

Chinese is written without spaces, so a cue is also found inside a longer word. Some cues therefore contain the comma
that follows them: 不对 (wrong) is a part of 不对称 (asymmetric), so the cue is 不对，. If simplified and traditional
characters differ, both are listed.
"""  # noqa: RUF002 - Chinese

from __future__ import annotations

ENGLISH_AFFIRMATION = ("yeah", "yes", "final answer", "confident")
ENGLISH_REFLECTION = ("wait", "alternatively", "hold on", "another", "verify", "think again", "recap", "check")
ENGLISH_VERIFICATION = ("verify", "think again", "recap", "check")

_CHINESE_AFFIRMATION = (
    *("是的，", "没错，", "没错。", "沒錯，", "沒錯。"),  # yes  # noqa: RUF001 - Chinese
    *("最终答案", "最終答案"),  # final answer
    *("我确信", "我確信", "很确信", "很確信"),  # confident
)
_CHINESE_VERIFICATION = (
    *("验证", "驗證", "核实", "核實", "检查", "檢查"),  # verify, check
    *("再想想", "重新思考"),  # think again
    *("回顾", "回顧"),  # recap
)
_CHINESE_REFLECTION = (
    *("等等", "等一下", "稍等"),  # wait
    *("不对，", "不對，"),  # wrong  # noqa: RUF001 - Chinese
    *("换个思路", "換個思路", "另一种", "另一種"),  # another way
    *_CHINESE_VERIFICATION,
)

CLAUSE_BEGINNINGS = frozenset({"等等"})
"""Cues that count only at the beginning of a clause. After a list, 等等 means "and so on"."""
AFFIRMATION = (*ENGLISH_AFFIRMATION, *_CHINESE_AFFIRMATION)
REFLECTION = (*ENGLISH_REFLECTION, *_CHINESE_REFLECTION)
VERIFICATION = (*ENGLISH_VERIFICATION, *_CHINESE_VERIFICATION)
