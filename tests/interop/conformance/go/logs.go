package conformance

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
)

// KubeletPort is where the API server asks for logs, as of a kubelet.
const KubeletPort = 10250

// Logs is what containers write, each piece with its time.
type Logs struct {
	mutex sync.Mutex
	all   map[string]*writer
}

// writer keeps what one container writes, and writes it to a file as well.
type writer struct {
	mutex  sync.Mutex
	file   io.Writer
	pieces []piece
}

type piece struct {
	at   time.Time
	text []byte
}

func (l *Logs) open(pod *core.Pod, of *core.Container, directory string) (io.Writer, error) {
	file, err := os.Create(filepath.Join(directory, pod.Namespace+"-"+pod.Name+"-"+of.Name+".log"))
	if err != nil {
		return nil, err
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.all == nil {
		l.all = map[string]*writer{}
	}
	opened := &writer{file: file}
	l.all["/containerLogs/"+pod.Namespace+"/"+pod.Name+"/"+of.Name] = opened
	return opened, nil
}

func (w *writer) Write(text []byte) (int, error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.pieces = append(w.pieces, piece{at: time.Now(), text: bytes.Clone(text)})
	return w.file.Write(text)
}

// Serve answers as a kubelet does that is asked for logs, over TLS that nobody verifies.
func (l *Logs) Serve(listener net.Listener) *httptest.Server {
	server := httptest.NewUnstartedServer(http.HandlerFunc(l.answer))
	server.Listener.Close()
	server.Listener = listener
	server.StartTLS()
	return server
}

func (l *Logs) answer(to http.ResponseWriter, asked *http.Request) {
	l.mutex.Lock()
	found := l.all[asked.URL.Path]
	l.mutex.Unlock()
	if found == nil {
		http.NotFound(to, asked)
		return
	}
	// Absent, it is the beginning.
	since, _ := time.Parse(time.RFC3339, asked.URL.Query().Get("sinceTime"))
	found.mutex.Lock()
	defer found.mutex.Unlock()
	for _, piece := range found.pieces {
		if !piece.at.Before(since) {
			to.Write(piece.text)
		}
	}
}
