"""The numbers of the paper, to stand beside a study's own.

Llama-3-8B-instruct; ten reward models whose training labels were flipped at ten rates, each golden
in turn; best of 1280 and PPO.

Reference:
    Wen et al. 2024, arXiv 2410.05584, tables 1 to 4 and 7.
"""

# Accuracy against NDR: measure to value.
TABLE_1 = {
    "BoN": {"Kendall": 0.6561, "Pearson": 0.7520, "Spearman": 0.7533, "MRR": 0.6333},
    "PPO": {"Kendall": 0.4654, "Pearson": 0.6395, "Spearman": 0.6102, "MRR": 0.5167},
}
# Responses of one model: Spearman and MRR, for best-of-n and PPO.
TABLE_2 = {
    "Mistral-7B": (0.680, 0.579, 0.580, 0.573),
    "Llama3-8B": (0.644, 0.598, 0.648, 0.551),
    "Qwen2-7B": (0.680, 0.529, 0.603, 0.599),
    "Vicuna-7b": (0.703, 0.658, 0.527, 0.517),
    "RewardBench": (0.753, 0.633, 0.610, 0.517),
}
CATEGORIES = ("Chat", "ChatHard", "Code", "Math", "Safety")
# Spearman for best-of-n; rows are categories of regret, columns of accuracy.
TABLE_3 = {
    "Chat": (0.529, 0.682, 0.573, 0.557, 0.657),
    "ChatHard": (0.493, 0.682, 0.583, 0.538, 0.655),
    "Code": (0.504, 0.634, 0.717, 0.456, 0.646),
    "Math": (0.288, 0.343, 0.244, 0.610, 0.282),
    "Safety": (0.515, 0.705, 0.521, 0.497, 0.687),
}
# Five responses a prompt: Spearman and MRR, for best-of-n and PPO.
TABLE_4 = {
    "pearson": (0.663, 0.657, 0.685, 0.545),
    "spearman": (0.664, 0.664, 0.680, 0.552),
    "kendall": (0.665, 0.667, 0.686, 0.558),
    "accuracy": (0.656, 0.648, 0.671, 0.554),
    "bo_n": (0.666, 0.663, 0.670, 0.543),
    "ece": (0.173, 0.364, 0.063, 0.382),
    "mrr": (0.650, 0.646, 0.675, 0.565),
    "ndcg": (0.655, 0.614, 0.658, 0.562),
    "xi": (0.677, 0.649, 0.688, 0.583),
    "accuracy-pair": (0.635, 0.586, 0.642, 0.567),
}
# KL penalty of PPO: Spearman, Kendall, Pearson, MRR.
TABLE_7 = {
    0.0: (0.4840, 0.3980, 0.6981, 0.5158),
    0.01: (0.5011, 0.3743, 0.5345, 0.4950),
    0.05: (0.6692, 0.5487, 0.7461, 0.3960),
    0.1: (0.6265, 0.4925, 0.6267, 0.3750),
}
