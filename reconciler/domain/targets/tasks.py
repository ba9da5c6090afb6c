"""What a model is for, in Foundry Local's own words: a registration carries one task, and it decides by which client a
model is asked.
"""

CHAT, EMBEDDINGS, SPEECH = "chat-completion", "embeddings", "automatic-speech-recognition"
TASKS = (CHAT, EMBEDDINGS, SPEECH)
OTHER_TASKS = (
    "as Foundry Local names them: Hugging Face's feature-extraction and sentence-similarity are embeddings; vision and "
    "other tasks are not served yet (docs/tasks.md)"
)
TASK_NICKNAMES = {
    **dict.fromkeys(("chat", "text-generation", "text2text-generation", "conversational"), CHAT),
    **dict.fromkeys(("feature-extraction", "sentence-similarity", "text-embedding"), EMBEDDINGS),
    **dict.fromkeys(("asr", "speech", "speech-to-text", "speech-recognition", "transcription", "whisper"), SPEECH),
}
HIDDEN_STATES = "hidden_states"  # the output of a graph that Foundry Local takes an embedding from
WHISPER = "whisper"  # the one family of models that hears
