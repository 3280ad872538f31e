"""Networks by name, models with their records, and the conversion of the authors' weights."""

from .checkpoint import describe_model as describe_model
from .checkpoint import load as load
from .checkpoint import make_record as make_record
from .checkpoint import mean_path as mean_path
from .checkpoint import read_mean_volume as read_mean_volume
from .checkpoint import read_record as read_record
from .checkpoint import record_path as record_path
from .checkpoint import write_record as write_record
from .cnn2d import CNN2D as CNN2D
from .convert import from_official as from_official
from .convert import recognise as recognise
from .convert import to_official as to_official
from .patchgan import MultiScaleDiscriminator as MultiScaleDiscriminator
from .patchgan import PatchDiscriminator2D as PatchDiscriminator2D
from .patchgan import PatchDiscriminator3D as PatchDiscriminator3D
from .pix2pix import PixelDiscriminator as PixelDiscriminator
from .pix2pix import UnetGenerator as UnetGenerator
from .projector import PatchProjector as PatchProjector
from .raylift import RayLift as RayLift
from .registry import NETWORKS as NETWORKS
from .registry import build_network as build_network
from .resnet import ResnetGenerator as ResnetGenerator
from .unet import ReplicateUNet as ReplicateUNet
from .x2ct import SingleViewGenerator as SingleViewGenerator
from .x2ct import X2CTGenerator as X2CTGenerator
