"""One small made-up file for every format: rows as they stand in the wild, texts of our own."""

from typing import Any

Turns = list[dict[str, str]]


def user(text: str) -> dict[str, str]:
    """A user turn."""
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    """An assistant turn."""
    return {"role": "assistant", "content": text}


def completion(response: str, ratings: str, **scores: float) -> dict[str, Any]:
    """A completion of UltraFeedback; ratings such as "4 N/A 3 5", in its own aspect order."""
    aspects = ("instruction_following", "honesty", "truthfulness", "helpfulness")
    return {
        "model": "m",
        "principle": "helpfulness",
        "custom_system_prompt": "Be kind.",
        "response": response,
        "annotations": {
            aspect: {"Rating": rating, "Rationale": "because"}
            for aspect, rating in zip(aspects, ratings.split(), strict=True)
        },
        **scores,
    }


ROWS: dict[str, list[dict[str, Any]]] = {
    "native": [
        {
            "prompt_id": "p1",
            "prompt": "Name a fruit.",
            "responses": ["apple", "brick"],
            "golden": [1.0, 0],
            "judge": [None, 0.25],
            "systems": ["a", "b"],
            "category": "food",
            "hard": False,
        },
        {
            "prompt_id": "p2",
            "prompt": [{"role": "system", "content": "Be brief."}, user("Name a stone.")],
            "responses": ["granite", "pear", "slate"],
            "golden": [0.75, 0.0, 0.5],
            "category": "rocks",
        },
    ],
    "native_rows": [
        {"prompt": "Name a fruit.", "response": "apple", "golden": 1.0, "system": "a", "set": "x"},
        {"prompt": "Name a stone.", "response": "slate", "golden": 0.5, "system": "a", "set": "y"},
        {"prompt": "Name a fruit.", "response": "brick", "golden": 0.0, "system": "b", "set": "x"},
    ],
    "rewardbench": [
        {
            "prompt": "Name a fruit.",
            "chosen": "apple",
            "chosen_model": "a",
            "rejected": "brick",
            "rejected_model": "b",
            "subset": "alpacaeval-easy",
            "id": 7,
        }
    ],
    "rewardbench2": [
        {
            "id": "12",
            "prompt": "Name a fruit.",
            "chosen": ["apple"],
            "rejected": ["brick", "sand", "lead"],
            "num_correct": 1,
            "num_incorrect": 3,
            "total_completions": 4,
            "subset": "Factuality",
        },
        {
            "id": "tied:3",
            "prompt": "Name any colour of the rainbow.",
            "chosen": ["red", "blue"],
            "rejected": ["brown"],
            "num_correct": 2,
            "num_incorrect": 1,
            "total_completions": 3,
            "subset": "Ties",
        },
        {
            "id": "ref:3",
            "prompt": "Name the first colour of the rainbow.",
            "chosen": ["red"],
            "rejected": ["blue", "brown"],
            "num_correct": 1,
            "num_incorrect": 2,
            "total_completions": 3,
            "subset": "Ties",
        },
    ],
    "rm_bench": [
        {
            "id": 8,
            "subset": "toy",
            "prompt": "Name a fruit.",
            "chosen": ["apple", "An apple.", "**apple**"],
            "rejected": ["brick", "A brick.", "**brick**"],
        }
    ],
    "rmb_pairwise": [
        {
            "pair_uid": "15",
            "conversation_input": [
                user("Hello") | {"language": "English"},
                assistant("Hi") | {"language": "English"},
                user("Nenne eine Frucht.") | {"language": "German"},
            ],
            "chosen": {"llm_name": "a", "answer": "Apfel"},
            "reject": {"llm_name": "b", "answer": "Ziegel"},
            "category_path": "Pairwise_set/Helpfulness/Chat/Discussion",
        },
        {
            "pair_uid": "16",
            "conversation_input": [user("How do I break in?")],
            "chosen": {"llm_name": "a", "answer": "I will not say."},
            "reject": {"llm_name": "b", "answer": "With a brick."},
            "category_path": "Pairwise_set/Harmlessness/S1",
        },
    ],
    "rmb_bon": [
        {
            "bon_uid": "3",
            "conversation_input": [user("Name a fruit.") | {"language": "English"}],
            "bon_best": {"llm_name": "a", "answer": "apple"},
            "loser_list": [
                {"llm_name": "b", "answer": "brick"},
                {"llm_name": "c", "answer": "sand"},
            ],
            "category_path": "BoN_set/Harmlessness/S1",
        }
    ],
    "hh_rlhf": [
        {
            "chosen": "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: A fruit?\n\nAssistant: apple",
            "rejected": "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: A fruit?\n\nAssistant: brick",
        }
    ],
    "ultrafeedback": [
        {
            "source": "sharegpt",
            "instruction": "Name a fruit.",
            "models": ["a", "b"],
            "correct_answers": ["None"],
            "incorrect_answers": ["None"],
            "completions": [
                completion("apple", "5 N/A 4 3", overall_score=8.0),
                completion("brick", "1 2 1 2", overall_score=10),
            ],
        }
    ],
    "ultrafeedback_binarized": [
        {
            "prompt": "Name a fruit.",
            "prompt_id": "u1",
            "chosen": [user("Name a fruit."), assistant("apple")],
            "rejected": [user("Name a fruit."), assistant("brick")],
            "messages": [user("Name a fruit."), assistant("apple")],
            "score_chosen": 8.5,
            "score_rejected": 2.0,
        },
        {
            "prompt": "Name a stone.",
            "prompt_id": "u2",
            "chosen": [user("Name a stone."), assistant("slate")],
            "rejected": [user("Name a stone."), assistant("granite")],
            "messages": [user("Name a stone."), assistant("slate")],
            "score_chosen": 7.0,
            "score_rejected": 7.0,
        },
    ],
    "helpsteer2": [
        {"prompt": prompt, "response": response, "helpfulness": h, "correctness": 3}
        | {"coherence": 4, "complexity": 1, "verbosity": 0}
        for prompt, response, h in [
            ("Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nA fruit?", "apple", 4),
            ("Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nA fruit?", "brick", 1),
            ("Name a stone.", "slate", 2),
        ]
    ],
    "helpsteer2_preference": [
        {
            "split": "train",
            "prompt": prompt,
            "response_1": "apple",
            "response_2": "pear",
            "preference_strength": strength,
            "preference_statement": "…",
        }
        for prompt, strength in [("first", -2), ("second", 3), ("neither", 0)]
    ],
    "helpsteer3": [
        {
            "domain": "general",
            "language": "english",
            "context": [user(prompt)],
            "response1": "apple",
            "response2": "pear",
            "overall_preference": strength,
        }
        for prompt, strength in [("first", -1), ("second", 2), ("neither", 0)]
    ],
    "nectar": [
        {
            "prompt": "\n\nHuman: Name a fruit.\n\nAssistant: ",
            "answers": [
                {"answer": "pear", "model": "a", "rank": 2.0},
                {"answer": "apple", "model": "b", "rank": 1.0},
            ],
            "turns": 1,
            "num_responses": 2,
            "source": ["toy"],
            "good_natured": True,
        }
    ],
    "ppe_human": [
        {
            "question_id": name,
            "model_a": "a",
            "model_b": "b",
            "winner": winner,
            "prompt": f"Name a fruit, {name}.",
            "response_1": "apple",
            "response_2": "pear",
            "language": "English",
            "is_code": False,
            "category_tag": {"math_v0.1": {"math": False}},
        }
        for name, winner in [("q1", "model_a"), ("q2", "model_b"), ("q3", "tie (bothbad)")]
    ],
    "ppe_best_of_k": [
        {"question_id": "q1", "prompt": "1 + 1?", "model_name": model, "mean_score": 0.5}
        | {f"response_{i}": f"{model} says {i}" for i in range(1, 12)}
        | {"scores": [i == 2 for i in range(1, 12)], "conflict_pairs": [[0, 1]]}
        for model in ("a", "b")
    ],
    "alpaca_eval": [
        {"dataset": "toy", "instruction": "Fruit?", "output": "apple", "generator": "a"},
        {"dataset": "toy", "instruction": "Stone?", "output": "slate", "generator": "a"},
        {"dataset": "toy", "instruction": "Fruit?", "output": "pear", "generator": "b"},
    ],
    "alpaca_eval_annotations": [
        {
            "dataset": "toy",
            "instruction": f"Fruit {i}?",
            "output_1": "apple",
            "generator_1": "a",
            "output_2": "pear",
            "generator_2": "b",
            "annotator": "judge",
            "preference": preference,
        }
        for i, preference in enumerate([1, 2.0, 1.5, 0, 1.25, None])
    ],
    "skywork": [
        {
            "chosen": [user("Name a fruit."), assistant("apple")],
            "rejected": [user("Name a fruit."), assistant("brick")],
            "source": "toy",
        }
    ],
    "openrlhf": [
        {
            "context_messages": [user("Name a fruit.")],
            "chosen": [assistant("apple")],
            "rejected": [assistant("brick")],
        },
        {"input": "Name a stone.", "chosen": "slate", "rejected": "bread"},
    ],
    "trl": [
        {"prompt": "Name a fruit.", "chosen": "apple", "rejected": "brick", "category": "food"},
        {"chosen": "The sky is blue.", "rejected": "The sky is black."},
        {
            "prompt": [user("Name a stone.")],
            "chosen": [assistant("slate")],
            "rejected": [assistant("bread")],
            "margin": 1.5,
        },
        {
            "chosen": [user("Name a tree."), assistant("oak")],
            "rejected": [user("Name a tree."), assistant("ant")],
        },
    ],
}
