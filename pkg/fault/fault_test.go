package fault_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/calimero-network/mero-go/pkg/fault"
)

func TestUnclassifiedErrorsNeverReachTheClient(t *testing.T) {
	secret := errors.New("open /data/auth.db: permission denied")
	for _, err := range []error{secret, fault.Wrap(secret, fault.Internal, "storage"), fault.Wrap(secret, "", "x"), fmt.Errorf("outer: %w", secret)} {
		if got := fault.MessageOf(err); got != "internal server error" {
			t.Errorf("MessageOf(%v) = %q, want the fixed text", err, got)
		}
		if got := fault.CodeOf(err); got != fault.Internal {
			t.Errorf("CodeOf(%v) = %q, want internal", err, got)
		}
	}
}

func TestWrappedErrorKeepsClassAndCause(t *testing.T) {
	cause := errors.New("cause")
	err := fmt.Errorf("login: %w", fault.Wrap(cause, fault.Conflict, "already there").Because("taken"))
	if fault.CodeOf(err) != fault.Conflict || fault.MessageOf(err) != "already there" || fault.ReasonOf(err) != "taken" {
		t.Errorf("got %q %q %q", fault.CodeOf(err), fault.MessageOf(err), fault.ReasonOf(err))
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
	if got := fault.Wrap(cause, fault.Conflict, "cause").Error(); got != "cause" {
		t.Errorf("a message that is the cause's is there twice: %q", got)
	}
	if fault.CodeOf(nil) != "" {
		t.Error("CodeOf(nil) is not empty")
	}
}
