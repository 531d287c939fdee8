"""Makes minilm_reference.json: what another implementation computes for the model of `make demo`.

    python3 tests/data/make_minilm_reference.py MODEL_DIR >tests/data/minilm_reference.json

Needs torch and transformers; reads MODEL_DIR only. Per case: token ids, the attention weights of one head (or the
mean over heads, where head is null) of one layer, and the mean-pooled last hidden state scaled to length 1.
"""
import json
import platform
import sys

import torch
import transformers

# The first one is for devices on which the others would take long.
CASES = [
    ("Dogs chase cats", 5, 4),
    ("The animal didn't cross the street because it was too tired.", 5, None),
    ("Ünïcödé café naïve — 東京 ist größer als Zürich! Привет, мир.", 0, 3),
    ("The quick brown fox, who had been sleeping under an old oak tree near the river bank since early morning, "
     "suddenly jumped over the lazy dog and ran away into the dark forest, because it heard the hunters' horns and "
     "the barking of their hounds coming closer and closer through the cold mist.", 2, 7),
]


def numbers(tensor):
    return [float(f"{value:.8g}") for value in tensor.tolist()]


def main():
    directory = sys.argv[1]
    torch.set_num_threads(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)
    model = transformers.AutoModel.from_pretrained(
        directory, local_files_only=True, attn_implementation="eager", dtype=torch.float32).eval()
    cases = []
    for text, layer, head in CASES:
        batch = tokenizer(text, return_tensors="pt", padding=False, truncation=False)
        with torch.no_grad():
            result = model(**batch, output_attentions=True)
        attention = result.attentions[layer][0]
        weights = attention.mean(0) if head is None else attention[head]
        pooled = result.last_hidden_state[0].mean(0)
        cases.append({
            "text": text,
            "ids": batch["input_ids"][0].tolist(),
            "layer": layer,
            "head": head,
            "weights": [numbers(row) for row in weights],
            "embedding": numbers(pooled / pooled.norm()),
        })
    made_by = (f"transformers {transformers.__version__}, torch {torch.__version__}, Python "
               f"{platform.python_version()}, fp32, eager attention; model all-MiniLM-L6-v2")
    print(json.dumps({"made_by": made_by, "cases": cases}, ensure_ascii=False, separators=(",", ":")))


main()
