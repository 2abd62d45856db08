"""Where the extra `bench` is installed beside a CPU build of PyTorch, torchvision needs help."""

from torchvision_names import complete_torchvision

complete_torchvision()
