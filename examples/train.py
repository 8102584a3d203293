import blanch
from blanch import nn

net = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(64 * 7 * 7, 10))
network = blanch.Network(net, input=(1, 28, 28), norm='nd', batch=128)
network.fit('fashion-mnist', epochs=1, lr=0.05)
network.save('weights.safetensors')     # to go on from
network.export('net.onnx')              # deconvolution folded in, for ONNX Runtime
