"""How each family of backbones turns input embeddings into class scores and losses."""

from pipelines.families.base import Embed, Family, SlotView
from pipelines.families.decoder import Decoder
from pipelines.families.encoder import Encoder
from pipelines.families.encoder_decoder import EncoderDecoder

FAMILIES: dict[str, Family] = {"encoder": Encoder(), "encoder-decoder": EncoderDecoder(), "decoder": Decoder()}

__all__ = ["FAMILIES", "Embed", "Family", "SlotView"]
