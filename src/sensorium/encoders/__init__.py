"""media -> Features

One encoder a modality: pretrained, random from a configuration, frozen in part or whole, or fine-tuned.

image.py     EfficientNetLite, TransformersImageEncoder (ViT, CLIP, SigLIP, DINOv2, ResNet, ConvNeXT …)
text.py      SentenceEncoder (MiniLM), TransformersTextEncoder (BERT, RoBERTa, CLIP, T5 …)
audio.py     WhisperEncoder (trimmed), TransformersAudioEncoder (wav2vec 2.0, CLAP, AST, Whisper)
video.py     FrameEncoder: a picture encoder on every frame
state.py     StateEncoder: named numbers, one token or one for each object
lstm.py, convolutional.py, log_mel.py, recurrent_video.py
             the textbook's towers, from random weights: LstmEncoder, VggEncoder, ResNetEncoder, MelCnnEncoder,
             GruVideoEncoder
encoder.py   the face they share: prepare, forward, encode, identity, freeze
"""
