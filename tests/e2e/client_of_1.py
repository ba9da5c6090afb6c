"""An application with the real foundry-local-sdk 1.x, which takes no part of our code: it lists, and asks each model.

    python -P client_of_1.py SDK CACHE HOME QUESTION

prints `{"sdk": version, "answers": {id: answer}}`.
"""

import json
import sys

if __name__ == "__main__":
    sdk, cache, home, question = sys.argv[1:]
    sys.path.insert(0, sdk)
    from importlib.metadata import version

    from foundry_local_sdk import Configuration, FoundryLocalManager

    FoundryLocalManager.initialize(
        Configuration(app_name="client", app_data_dir=home, logs_dir=f"{home}/logs", model_cache_dir=cache)
    )
    answers = {}
    for model in FoundryLocalManager.instance.catalog.get_cached_models():
        model.load()
        client = model.get_chat_client()
        client.settings.temperature, client.settings.max_tokens = 0.0, 16
        answer = client.complete_chat([{"role": "user", "content": question}])
        answers[model.id] = answer.choices[0].message.content
        model.unload()
    print(json.dumps({"sdk": version("foundry-local-sdk"), "answers": answers}))
