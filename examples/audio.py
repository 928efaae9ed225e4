"""Speech to text.

modeldeploy deploy openai/whisper-tiny
python examples/audio.py http://127.0.0.1:8100 speech.wav
"""

import sys

from huggingface_hub import InferenceClient

if len(sys.argv) < 3:
    sys.exit("usage: audio.py URL FILE (WAV, FLAC, OGG or MP3)")
url, file = sys.argv[1:3]
print(InferenceClient(model=url).automatic_speech_recognition(file).text)
